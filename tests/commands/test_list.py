"""``unlearn list`` lists the installed specs, each with its plugin."""

import pytest

from harness.cli import main


@pytest.mark.parametrize("kind", ["methods", "backbones", "datasets", "scenarios", "publications"])
def test_installed_specs_are_listed_with_their_plugins(kind, capsys):
    assert main(["list", kind]) == 0
    assert capsys.readouterr().out.startswith(kind)


def test_without_a_kind_everything_is_listed(capsys):
    main(["list"])

    out = capsys.readouterr().out
    assert "arxiv.org/abs/2503.00917" in out
    assert "digits-random10-forget-only" in out
    assert "timm.list_models()" in out
