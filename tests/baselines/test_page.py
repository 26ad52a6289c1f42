"""The methods' own page: a line for each of ours, with the numbers of the committed records."""

import re
import statistics
from pathlib import Path

import pytest

from harness.leaderboard.publish import published_lines
from harness.leaderboard.ranks import significant_pairs
from harness.leaderboard.table import tables
from harness.plugins.catalog import load_catalog

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "baselines" / "README.md").read_text(encoding="utf-8")
SCENARIOS = {"digits": "digits-random10", "Fashion": "fashion-2k-random10"}
ROWS = {
    cells[0]: cells[1:]
    for line in PAGE.splitlines()
    if line.startswith("| ") and (cells := [cell.strip() for cell in line.strip("|").split("|")])
}


@pytest.fixture(scope="module")
def boards():
    found = {table.scenario.name: table for table in tables(published_lines(ROOT / "leaderboards"))}
    return {short: found[name] for short, name in SCENARIOS.items()}


def test_every_method_of_ours_has_its_line():
    catalog = load_catalog()
    ours = {
        name
        for (kind, name), origin in catalog.origin.items()
        if kind == "method" and origin.startswith("unlearning-leaderboard:")
    }

    assert {*ROWS} - {"Method"} == ours
    assert all(cell for cells in ROWS.values() for cell in cells)


def test_the_numbers_are_the_records(boards):
    for method, cells in ROWS.items():
        for cell, board in zip(cells[:2], boards.values(), strict=True):
            if method in board.gaps:
                assert cell == f"{statistics.fmean(board.gaps[method].values()):.2f}", method
            elif method != "Method":
                assert cell == "–"


def test_what_beats_retraining_for_as_long_is_what_the_ranks_test_says(boards):
    better = {
        short: {m for m, worse in significant_pairs(board.gaps) if worse == "retrain-short"}
        for short, board in boards.items()
    }

    for method, cells in ROWS.items():
        if method not in boards["digits"].gaps or method == "retrain-short":
            continue
        where = [short for short in SCENARIOS if method in better[short]]
        assert cells[2] == {0: "neither", 1: "".join(where), 2: "both"}[len(where)], method
    counts = re.search(r"(\d+) of 29 do so on the digits and (\d+) of 28", PAGE)
    assert [int(n) for n in counts.groups()] == [len(methods) for methods in better.values()]
