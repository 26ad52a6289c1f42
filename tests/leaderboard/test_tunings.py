"""The block of a page about its tuning: gaps against trials, and those on fresh originals."""

import pytest
from worlds import world

from harness.leaderboard.pages import render, scenario_page
from harness.leaderboard.table import tables
from harness.leaderboard.tunings import tuning_block
from harness.records.tuned import OVER, Trial, Tuning, Unread


def trials(*gaps):
    return tuple(
        Trial({"lr": number}, gap, 1.0, "" if gap else OVER) for number, gap in enumerate(gaps)
    )


NEW = Tuning("x", 4, trials(9.0, *[8.0] * 3, 3.0, *[7.0] * 15), confirmed=trials(9.5, 4.0))
OVER_BUDGET = Tuning("x", 4, trials(None, 8.0), confirmed=trials(9.5, 4.0)[1:])
OLD = Tuning("x", 4, trials(*[6.0] * 4, 2.0, *[1.0] * 15))


def cells(block, method):
    (line,) = (line for line in "\n".join(block).splitlines() if line.startswith(f"| {method} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_a_block_shows_the_gap_after_1_5_and_20_trials_and_on_fresh_originals():
    block = tuning_block("s", {"s": {"new": NEW}}, ["new"])

    assert cells(block, "new") == ["9.00", "3.00", "3.00", "9.50", "4.00"]
    assert "[tuned/s.json](tuned/s.json)" in block[1]


def test_defaults_beyond_the_budget_are_named_and_trials_that_were_not_made_are_left_open():
    block = tuning_block("s", {"s": {"m": OVER_BUDGET}}, ["m"])

    assert cells(block, "m") == ["–", "–", "–", OVER, "4.00"]


def test_a_method_tuned_by_the_old_procedure_shows_what_its_file_has():
    block = tuning_block("s", {"s": {"old": OLD}}, ["old"])

    assert cells(block, "old") == ["6.00", "2.00", "1.00", "–", "–"]


@pytest.mark.parametrize(
    ("tunings", "told", "untold"),
    [
        ({"m": NEW}, ["The first trial is the method's defaults"], ["an earlier procedure"]),
        ({"m": OLD}, ["an earlier procedure"], ["The first trial is the method's defaults"]),
        ({"m": NEW, "n": OLD}, ["an earlier procedure", "The first trial is"], []),
    ],
)
def test_a_block_tells_only_of_the_procedures_that_its_methods_were_tuned_by(tunings, told, untold):
    text = tuning_block("s", {"s": tunings}, tunings)[1]

    assert all(words in text for words in told)
    assert not any(words in text for words in untold)


def test_there_is_no_block_without_a_tuned_method_of_the_page():
    assert tuning_block("s", {"t": {"m": NEW}}, ["m"]) == []
    assert tuning_block("s", {"s": {"m": NEW}}, ["other"]) == []
    assert tuning_block("s", {"s": {"m": Unread({}, "broken")}}, ["m"]) == []


def test_a_page_has_the_block_of_the_scenario_that_its_settings_were_tuned_on():
    lines = world({"m": 4})

    page = scenario_page(tables(lines)[0], tunings={"s": {"m": NEW}})

    assert "## Tuning" in page
    assert render(lines, tunings={"s": {"m": NEW}})["s.md"] == page
    assert "## Tuning" not in scenario_page(tables(lines)[0])
