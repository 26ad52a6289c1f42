"""The installed specs are listed, each with its plugin."""

import pytest

from harness.cli import main


@pytest.mark.parametrize("kind", ["methods", "backbones", "datasets", "protocols", "scenarios"])
def test_what_is_installed_is_listed_with_its_plugin(kind, capsys):
    assert main(["list", kind]) == 0
    assert capsys.readouterr().out.startswith(kind)


def test_everything_is_listed_without_a_word(capsys):
    main(["list"])

    out = capsys.readouterr().out
    assert "arxiv.org/abs/2503.00917" in out
    assert "digits-random10-forget-only" in out
    assert "timm.list_models()" in out
