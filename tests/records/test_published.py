"""``published/*.csv``: what they hold, and what is refused in one line."""

import csv
import re
from pathlib import Path

import pytest
from printed import FILES, put

from harness import UserError
from harness.leaderboard.problem import task
from harness.plugins.catalog import load_catalog
from harness.records.literature import Literature
from harness.records.published import read_literature

FOLDER = Path(__file__).parents[2] / "leaderboards" / "published"
PAPERS = ("2605.31317", "2503.00917")
DESCRIBED = read_literature(FOLDER).scenarios
OURS = [x for x in load_catalog().scenarios.values() if x.name in DESCRIBED]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert read_literature(tmp_path / "none") == Literature()


def test_the_files_are_read_as_tables_scenarios_and_a_catalogue(tmp_path):
    found = read_literature(put(tmp_path))

    joined, forget_only = found.tables
    assert joined.table == "T1+T2"
    assert (joined.paper.title, joined.paper.otherwise) == ("A Paper", "It peeks.")
    assert [column.metric for column in joined.columns] == ["fa", "gap"]
    assert [(x.method, x.metric, x.mean, x.sd, x.n, x.spread, x.note) for x in joined.numbers] == [
        ("Scratch", "fa", "80.0", "0.10", 5, "sd", ""),
        ("M", "fa", "84.0", "", None, "", ""),
        ("M", "gap", "3.90", "", 5, "", "rounded"),
    ]
    assert joined.methods == {"Scratch": ("retrain",), "M": ("m",)}
    assert joined.scenarios == {"s": "", "n": "It is smaller."}
    assert (forget_only.scenarios, forget_only.otherwise) == ({}, "A defect.")
    assert forget_only.problem == "net, 10%, without the retain set"
    assert forget_only.columns[0].part_of == ""  # the table prints no gap
    assert found.scenarios["s"].note == "Once only."
    assert [words.waits for words in found.scenarios.values()] == [False, False, True]
    assert [(x.value, x.rank) for x in found.catalogue] == [("84.0", 8), ("", 45)]


def edited(name, old, new):
    assert old in FILES[name]
    return {name: FILES[name].replace(old, new, 1)}


WRONG = {
    "unknown column": (
        edited("p-1", "spread,note", "spread,remark"),
        r"p-1\.csv, line 1, column 15: found 'remark'; expected 'note'",
    ),
    "additional column": (
        edited("methods", "printed,ours", "printed,ours,more"),
        r"methods\.csv, line 1, column 4: found 'more'; expected no further column after 'ours'",
    ),
    "empty file": (
        {"papers": ""},
        r"papers\.csv, line 1, column 1: found 'no column'; expected 'paper'",
    ),
    "short row": (
        edited("methods", "p-1,M,m", "p-1,M"),
        r"methods\.csv, line 2: found 2 columns; expected 3: paper, printed, ours",
    ),
    "open quote": (
        edited("methods", "p-1,M,m", 'p-1,"M,m'),
        r"methods\.csv, line 3: found unexpected end of data; expected comma-separated values",
    ),
    "mean": (
        edited("p-1", "84.0", "84,0".replace(",", "%")),
        r"p-1\.csv, line 3, column mean: found '84%0'; expected a finite number",
    ),
    "sd": (
        edited("p-1", "0.10", "± 1"),
        r"p-1\.csv, line 2, column sd: found '± 1'; expected a finite number or empty",
    ),
    "n": (
        edited("p-1", "0.10,5", "0.10,five"),
        r"p-1\.csv, line 2, column n: found 'five'; expected a whole number of at least 1, or",
    ),
    "duplicate": (
        edited("p-1", "p-1,T9", "p-1,T1"),
        r"p-1\.csv, line 7, column metric: found 'fa'; expected a number that no other line has",
    ),
    "paper": (
        edited("p-1", "p-1,T9", "p-2,T9"),
        r"p-1\.csv, line 7, column paper: found 'p-2'; expected one of p-1",
    ),
    "metric": (
        edited("p-1", "M,hidden", "M,hiden"),
        r"p-1\.csv, line 4, column metric: found 'hiden'; expected one of fa, gap, hidden",
    ),
    "unit": (
        edited("p-1", "gap,points", "gap,percent"),
        r"p-1\.csv, line 5, column unit: found 'percent'; expected one of points",
    ),
    "access": (
        edited("p-1", "10%,no", "10%,some"),
        r"p-1\.csv, line 6, column retain_access: found 'some'; expected one of 'yes', 'no', 'b",
    ),
    "table": (
        edited("tables", "T1+T2", "T1+T3"),
        r"tables\.csv, line 2, column table: found 'T1\+T3'; expected tables with numbers on 'x'",
    ),
    "scenario of a table": (
        edited("tables", "yes,n,", "yes,q,"),
        r"tables\.csv, line 3, column scenario: found 'q'; expected one of s, n",
    ),
    "paper of a table": (
        edited("tables", "p-1,T1,", "p-3,T1,"),
        r"tables\.csv, line 4, column paper: found 'p-3'; expected one of p-1",
    ),
    "scenario of the catalogue": (
        edited("catalogue", ",45,s,", ",45,,"),
        r"catalogue\.csv, line 3, column scenario: found ''; expected one of s, n",
    ),
    "rank": (
        edited("catalogue", "84.0,8", "84.0,eighth"),
        r"catalogue\.csv, line 2, column rank: found 'eighth'; expected a whole number",
    ),
    "printed method": (
        edited("methods", "p-1,M,m", "p-1,N,m"),
        r"methods\.csv, line 2, column printed: found 'N'; expected one of ",
    ),
    "our method": (
        edited("methods", "p-1,M,m", "p-1,M,a method"),
        r"methods\.csv, line 2, column ours: found 'a method'; expected a name of letters",
    ),
    "paper without numbers": (
        edited("papers", "It peeks.\n", "It peeks.\np-2,Two,,,,\n"),
        r"papers\.csv, line 3, column paper: found 'p-2'; expected a paper whose numbers are in",
    ),
    "paper twice": (
        edited("papers", "It peeks.\n", "It peeks.\np-1,Two,,,,\n"),
        r"papers\.csv, line 3, column paper: found 'p-1'; expected each only once",
    ),
    "unknown file": (
        {"mine": "a,b\n"},
        r"mine\.csv: found no paper 'mine' in papers\.csv; expected the file to be named after one",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_malformed_file_is_named_with_its_place_in_one_line(tmp_path, case):
    changes, message = WRONG[case]
    folder = put(tmp_path, **changes)

    with pytest.raises(UserError, match=message) as error:
        read_literature(folder)

    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text_is_named(tmp_path):
    (put(tmp_path) / "p-1.csv").write_bytes(b"paper\xff")

    with pytest.raises(UserError, match=r"p-1\.csv: not UTF-8 at byte 5; expected UTF-8 text"):
        read_literature(tmp_path)


def test_the_committed_files_are_valid_and_place_every_listed_row():
    found = read_literature(FOLDER)

    placed = {name for table in found.tables for name in table.scenarios}
    assert len(found.catalogue) == 10
    assert {row.scenario for row in found.catalogue} - placed == {"cifar100-random10"}
    assert {*found.scenarios} - placed == {"cifar100-random10"}


@pytest.mark.parametrize("paper", PAPERS)
def test_the_committed_numbers_are_those_of_the_shared_transcription(paper):
    shared = Path(__file__).parents[3] / "shared" / "published" / f"{paper}.csv"
    if not shared.is_file():
        pytest.skip(f"no transcription at {shared}")

    ours, theirs = (
        [*csv.DictReader(path.read_text(encoding="utf-8").splitlines(keepends=True))]
        for path in (FOLDER / shared.name, shared)
    )

    assert [{name: row[name] for name in theirs[0]} for row in ours] == theirs
    assert len(ours) == {"2605.31317": 1325, "2503.00917": 489}[paper]


@pytest.mark.parametrize("scenario", OURS, ids=lambda scenario: scenario.name)
def test_a_committed_description_is_that_of_the_scenario(scenario):
    described = DESCRIBED[scenario.name]

    unnamed = re.sub(r" \([a-z_]+\)", "", described.forget)  # the data set names its classes
    assert (described.dataset, described.backbone) == (scenario.dataset, scenario.backbone)
    assert f"Forget {unnamed}" == task(scenario)
