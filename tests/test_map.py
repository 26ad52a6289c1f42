"""The harness's map is true: its examples run as they stand, its rooms and terms are the code's."""

import re
import shlex
from pathlib import Path

import pytest

from harness.cli import main

ROOT = Path(__file__).parents[1]
HARNESS = ROOT / "harness"
MAP = (HARNESS / "README.md").read_text(encoding="utf-8")
EXAMPLES = dict(
    re.findall(r"^`(\w+\.py)`:\n\n```python\n(.*?)^```$", MAP, re.DOTALL | re.MULTILINE)
)
COMMANDS = [shlex.split(line) for line in re.findall(r"^    unlearn (.*)$", MAP, re.MULTILINE)]
SIGNS = {  # what the pages must have of each example
    "quick.py": "# quick\n",
    "ascent.py": "| ascend-then-repair",
    "agreement.py": "agreement.forget",
    "quadrants.py": "`quadrants`",
    "small_net.py": "`small-net",
    "balanced.py": "10 images of each class",
}


def commands_with(name):
    return [words for words in COMMANDS if words[-1] == name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with every example as a file, and a store that all of them share."""
    folder = tmp_path_factory.mktemp("map")
    for name, text in EXAMPLES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def unlearn(folder, monkeypatch, capsys):
    """Runs a command of the page there, in this process; gives what went wrong, if anything."""
    monkeypatch.chdir(folder)

    def call(*words):
        status = main([*words, "--workers", "0"] if words[0] != "leaderboard" else [*words])
        return capsys.readouterr().err if status else ""

    return call


def test_the_examples_are_those_that_are_held_to_the_pages():
    assert {*EXAMPLES} == {*SIGNS}
    assert all(len(commands_with(name)) == 1 for name in EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_by_its_command_and_shows_on_a_page(name, folder, unlearn):
    (words,) = commands_with(name)

    failures = [unlearn(*words, "--device", "cpu"), unlearn("leaderboard")]

    pages = [page.read_text(encoding="utf-8") for page in (folder / "leaderboards").glob("*.md")]
    assert failures == ["", ""]
    assert any(SIGNS[name] in page for page in pages)


def test_the_table_of_rooms_is_the_folder_from_the_lowest_floor_up():
    shown = re.findall(r"^\| (`[^|]*) \|[^|]*\| ([^|]*)\|$", MAP, re.MULTILINE)
    rooms = [re.findall(r"`([\w.]+)/?`", first) for first, _ in shown]
    looks = [re.findall(r"`([\w.]+)`", files) for _, files in shown]

    there = {p.name for p in HARNESS.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}

    assert {name for names in rooms for name in names} == there - {"__init__.py", "api.py"}
    for names, files in zip(rooms, looks, strict=True):
        for file in files:
            assert (HARNESS / names[0] / file).exists() or (HARNESS / file).exists(), file


def test_the_row_that_the_map_reads_is_one_of_the_page():
    head, _, row = MAP.partition("<!-- row -->\n")[2].partition("\n<!-- /row")[0].splitlines()
    page = (ROOT / "leaderboards" / "digits-random10.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in page if line[:1] == "|"]
    titles, shown = ([cell.strip() for cell in line[1:-1].split("|")] for line in (head, row))
    columns = [cells[0].index(title) for title in titles]

    assert shown in [[each[c] for c in columns] for each in cells if len(each) == len(cells[0])]
    for value in ("29", "3.44", "1.14", "74.7", "4.3", "7,983", "12 %"):
        assert value in MAP.partition("<!-- /row -->")[2]


def test_the_records_load_as_the_map_says_and_give_the_order_of_the_page(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (block,) = re.findall(r"^```python\nimport harness\n(.*?)^```$", MAP, re.DOTALL | re.MULTILINE)
    page = (ROOT / "leaderboards" / "digits-random10.md").read_text(encoding="utf-8")

    exec(f"import harness\n{block}", {})

    printed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    ranked = re.findall(r"^\| \d+ \(.*?\| (\S+)", page, re.MULTILINE)
    assert len(ranked) > 5
    assert [name for name in printed if name in ranked] == ranked


def test_the_glossary_has_one_line_a_term_in_the_order_of_the_alphabet():
    terms = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", MAP.partition("## Glossary")[2], re.MULTILINE)

    terms = [term for term in terms if term not in ("Term",)]

    assert len(terms) > 30
    assert terms == sorted({*terms}, key=str.lower)
