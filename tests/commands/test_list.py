"""``unlearn list`` lists the installed specs, each with its plugin."""

import re

import pytest
from suites import PROTOCOL

from harness.cli import main


@pytest.mark.parametrize("kind", ["methods", "backbones", "datasets", "scenarios", "publications"])
def test_installed_specs_are_listed_with_their_plugins(kind, capsys):
    assert main(["list", kind]) == 0
    assert capsys.readouterr().out.startswith(kind)


def test_a_protocol_is_listed_with_the_kinds_of_forget_set_that_it_is_defined_for(unlearn, work):
    (work / "mine.py").write_text(
        PROTOCOL.format(value="1.0", version=1).replace(
            "measure)", "measure, defined_for={'class'})"
        )
    )

    _, out, _ = unlearn("list", "protocols", "-p", "mine.py")

    described = {line.split("  ")[0]: line for line in out.splitlines()}
    assert re.search(r"mean +class +mine.py$", described["mine"])
    assert re.search(r"forget, retain, test +all +unlearning", described["accuracy"])


def test_without_a_kind_everything_is_listed(capsys):
    main(["list"])

    out = capsys.readouterr().out
    assert "arxiv.org/abs/2503.00917" in out
    assert "digits-random10-forget-only" in out
    assert "timm.list_models()" in out
