"""``harness/README.md`` is true: its examples run, and its rooms and terms match the code."""

import dataclasses
import re
import runpy
import shlex
from pathlib import Path

import pytest

from harness import api
from harness.cli import main
from harness.leaderboard.frame import COLUMNS
from harness.leaderboard.gaps import FEWEST_REPLICATES
from harness.leaderboard.ranks import FEWEST_FOR_SETS

ROOT = Path(__file__).parents[1]
HARNESS = ROOT / "harness"
MAP = (HARNESS / "README.md").read_text(encoding="utf-8")
NUMBERS = (HARNESS / "NUMBERS.md").read_text(encoding="utf-8")
EXAMPLES = dict(
    re.findall(r"^`(\w+\.py)`:\n\n```python\n(.*?)^```$", MAP, re.DOTALL | re.MULTILINE)
)
COMMANDS = [shlex.split(line) for line in re.findall(r"^    unlearn (.*)$", MAP, re.MULTILINE)]
SIGNS = {  # what the pages must show of each example
    "quick.py": "# quick\n",
    "ascent.py": "| ascend-then-repair",
    "agreement.py": "agreement.forget",
    "calibrated.py": "calibrated.forget",
    "quadrants.py": "`quadrants`",
    "small_net.py": "`small-net",
    "balanced.py": "10 images of each class",
    "my_paper.py": "| FT | published | 79.10 ± 0.50 | 8.70 | 8.70 |",
}


TENTH = api.RandomFraction(0.1)
SEARCH = {"lr": api.Span(0.01, 1.0), "steps": api.Span(1, 9)}


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
    """Runs a command of the README in that folder; returns its errors if it failed."""
    monkeypatch.chdir(folder)

    def call(*words):
        status = main([*words, "--workers", "0"] if words[0] != "leaderboard" else [*words])
        return capsys.readouterr().err if status else ""

    return call


def test_every_example_has_one_command_and_one_expected_text():
    assert {*EXAMPLES} == {*SIGNS}
    assert all(len(commands_with(name)) == 1 for name in EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_with_its_command_and_appears_on_a_page(name, folder, unlearn):
    (words,) = commands_with(name)

    failures = [unlearn(*words, "--device", "cpu"), unlearn("leaderboard")]

    pages = [page.read_text(encoding="utf-8") for page in (folder / "leaderboards").glob("*.md")]
    assert failures == ["", ""]
    assert any(SIGNS[name] in page for page in pages)


def section(heading):
    return MAP.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_table_of_rooms_has_every_floor_of_the_architecture_test_from_the_top_down():
    table = re.findall(r"^\| (\d) \| (`[^|]*) \|", section("Rooms"), re.MULTILINE)
    floors = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))["FLOORS"]

    shown = [(int(floor), re.findall(r"`(\w+)(?:/|\.py)`", rooms)) for floor, rooms in table]

    numbers = [floor for floor, _ in shown]
    assert numbers == sorted(numbers, reverse=True)
    for number, rooms in enumerate(floors, start=1):
        assert {room for floor, names in shown if floor == number for room in names} == rooms


def test_the_table_of_rooms_matches_the_folder_and_points_to_existing_files():
    rows = re.findall(r"^\| \d \| (`[^|]*) \|[^|]*\| ([^|]*)\|$", section("Rooms"), re.MULTILINE)
    rooms = [re.findall(r"`([\w.]+)/?`", first) for first, _ in rows]
    there = {p.name for p in HARNESS.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}

    missing = [
        file
        for names, (_, files) in zip(rooms, rows, strict=True)
        for file in re.findall(r"`([\w.]+)`", files)
        if not (HARNESS / names[0] / file).exists() and file not in names
    ]

    assert {name for names in rooms for name in names} == there - {"__init__.py"}
    assert missing == []


@pytest.mark.parametrize(
    ("heading", "fewest"), [("A run, file by file", 12), ("Where do I find it?", 15)]
)
def test_the_files_that_the_map_points_to_exist(heading, fewest):
    files = re.findall(r"`([\w/]+\.py)`", section(heading))

    missing = [f for f in files if not (HARNESS / f).exists() and not (ROOT / f).exists()]

    assert len(files) >= fewest
    assert missing == []


def test_the_recipe_that_is_shown_can_be_built():
    (block,) = re.findall(r"^```python\n(Recipe\(.*?)^```$", MAP, re.DOTALL | re.MULTILINE)

    recipe = eval(block, {**vars(api)})

    assert (recipe.optimizer, recipe.schedule, recipe.step_size) == ("adamw", "step", 10)


def test_the_marks_of_settings_that_are_shown_can_be_set():
    (block,) = re.findall(r"^```python\n(lr: float.*?)^```$", MAP, re.DOTALL | re.MULTILINE)
    fields = "\n".join(f"    {line}" for line in block.splitlines())
    space = {**vars(api), **vars(dataclasses)}

    exec(f"@dataclass(frozen=True)\nclass Config:\n    attack: str = 'closest'\n{fields}", space)

    method = api.Method("marked", lambda task, _: task.model, space["Config"](), search=SEARCH)
    granted = api.Scenario("granted", "digits", "test_resnet", api.Recipe(1, 0.1), TENTH)
    withheld = dataclasses.replace(granted, retain_access=0.0)
    assert [*method.searched(granted)] == ["lr"]
    assert [*method.searched(withheld)] == []


def nouns():
    """Noun → the names in its row's fields, and the calls that its row mentions."""
    table = MAP.partition("\n### The nouns' fields\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE)
    return {
        noun: (re.findall(r"`(\w+)`", fields), re.findall(r"`(?:\w+\.)?(\w+)\(\)`", more))
        for noun, fields, more in rows
    }


@pytest.mark.parametrize("noun", nouns())
def test_the_table_of_nouns_has_all_fields_of_each_and_only_calls_that_exist(noun):
    cls = getattr(api, noun)
    names = [field.name for field in dataclasses.fields(cls)]

    fields, calls = nouns()[noun]

    unknown = [c for c in calls if not hasattr(cls, c) and c not in {*names, *vars(api)}]

    assert fields == names
    assert unknown == []


def test_the_table_of_nouns_has_what_methods_protocols_and_published_numbers_are_made_of():
    wanted = (
        "Task Data Batch Evidence References Replays Ensembles Outputs Labels Cost Estimate "
        "Span Choice Training NamedRecipe Published Paper Column Printed"
    )

    assert [*nouns()] == wanted.split()


def test_the_row_that_is_explained_is_on_the_page():
    head, _, row = NUMBERS.partition("<!-- row -->\n")[2].partition("\n<!-- /row")[0].splitlines()
    page = (ROOT / "leaderboards" / "digits-random10.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in page if line[:1] == "|"]
    titles, shown = ([cell.strip() for cell in line[1:-1].split("|")] for line in (head, row))
    columns = [cells[0].index(title) for title in titles]

    assert shown in [[each[c] for c in columns] for each in cells if len(each) == len(cells[0])]
    for value in ("30", "3.97", "1.20", "76.5", "6.1", "10,776", "17 %"):
        assert value in NUMBERS.partition("<!-- /row -->")[2]


def test_the_records_load_as_shown_and_give_the_order_of_the_page(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (block,) = re.findall(r"^```python\n(.*?)^```$", NUMBERS, re.DOTALL | re.MULTILINE)
    page = (ROOT / "leaderboards" / "digits-random10.md").read_text(encoding="utf-8")

    exec(block, {})

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    printed = [words[0] for words in lines]
    ranked = re.findall(r"^\| \d+ \(.*?\| (\S+)", page, re.MULTILINE)
    assert len(ranked) > 5
    assert [name for name in printed if name in ranked] == ranked
    assert "original" in printed
    assert ["retrain", "NaN"] in lines


def test_the_table_of_columns_is_that_of_the_frame():
    table = NUMBERS.partition("| Column | Meaning |")[2]

    firsts = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)

    assert [name for first in firsts for name in re.findall(r"`(\w+)`", first)] == [*COLUMNS]


def test_the_numbers_of_replicates_that_a_rank_needs_are_those_of_the_code():
    text = " ".join(NUMBERS.split())

    assert (FEWEST_REPLICATES, FEWEST_FOR_SETS) == (3, 6)
    assert (
        "One or two replicates give only values, three to five also an order, six or more" in text
    )


def test_each_table_of_the_glossary_is_in_alphabetical_order_and_no_term_is_in_both():
    _, *tables = section("Glossary").split("| Term | Meaning |")

    terms = [re.findall(r"^\| ([^|]+) \| [^|]+ \|$", table, re.MULTILINE) for table in tables]

    every = [term for table in terms for term in table]
    assert len(every) > 30
    assert len({*every}) == len(every)
    assert terms == [sorted(table, key=str.lower) for table in terms]
