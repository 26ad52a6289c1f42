"""What the adversarial module's page shows is true: its code runs, its pictures are there."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).parents[2] / "amun_plugin"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.M))
def test_the_code_runs(code, capsys):
    exec(code, {})

    assert capsys.readouterr().out


@pytest.mark.parametrize("name", re.findall(r"\]\((\w+\.svg)\)", PAGE))
def test_the_picture_can_be_read(name):
    picture = ElementTree.parse(FOLDER / name).getroot()

    assert picture.tag.endswith("svg")
    assert len(picture) > 10
