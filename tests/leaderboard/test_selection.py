"""Which runs stand on a page: newest sources with enough replicates, one machine's references."""

import dataclasses
import itertools
import random

import pytest
from machines import SCENARIO, references, rows, run

from harness import Cost, Recipe
from harness.leaderboard.pages import scenario_page
from harness.leaderboard.table import tables
from harness.records.lines import Run


def table_of(*lines):
    (table,) = tables(itertools.chain(*lines))
    return table


def row_of(table, label):
    return next(each for each in table.rows if each.label == label)


def forget_of(table, label):
    return row_of(table, label).metrics["accuracy.forget"].value.mean


def test_a_run_is_judged_against_the_models_that_it_names_and_no_others():
    table = table_of(
        references(range(4), forget=80),
        references(range(4), machine="away", forget=60, at="2"),
        rows("home-grown", range(4), 84),
        rows("also", range(4), 88),
        rows("guest", range(4), 68, machine="away", at="2"),
    )

    assert row_of(table, "home-grown").gap.mean == pytest.approx(4 / 4)
    assert row_of(table, "guest").gap.mean == pytest.approx(8 / 4)
    assert row_of(table, "guest").elsewhere == "away (cpu, 1 thread(s) a process)"
    assert row_of(table, "home-grown").elsewhere == ""
    assert table.left_out == 0


def test_the_references_rows_are_those_that_most_rows_are_judged_against():
    few = table_of(
        references(range(4), forget=80),
        references(range(4), machine="away", forget=60),
        rows("one", range(4), 84),
        *(rows(name, range(4), 68, machine="away") for name in ("two", "three")),
    )

    assert forget_of(few, "retrain") == 60
    assert row_of(few, "retrain").outcomes.by_status == {"finished": 12}
    assert row_of(few, "one").elsewhere == "home (cpu, 1 thread(s) a process)"


def test_of_two_reference_sets_with_as_many_rows_the_older_is_the_main_one():
    lines = [
        references(range(4), machine="away", forget=60, at="2"),
        references(range(4), forget=80, at="1"),
        rows("one", range(4), 84, at="3"),
        rows("two", range(4), 68, machine="away", at="2"),
    ]

    assert forget_of(table_of(*lines), "retrain") == 80


def test_a_share_of_retrainings_cost_is_of_the_runs_own_references():
    cheap = Cost({"train": 2.0}, 40.0)
    table = table_of(
        references(range(4)),
        references(range(4), machine="away", cost=cheap),
        rows("one", range(4), 84),
        rows("two", range(4), 84),
        rows("guest", range(4), 68, machine="away", cost=Cost({"train": 1.0}, 10.0)),
    )

    assert row_of(table, "guest").spending.passes_share == pytest.approx(10 / 40)
    assert row_of(table, "one").spending.passes_share == pytest.approx(100 / 100)


def test_a_newcomers_row_changes_no_other_row():
    home = [references(range(8)), rows("one", range(8), 84), rows("two", range(8), 88)]
    before = table_of(*home)

    after = table_of(
        *home,
        references(range(8), machine="away", forget=60, at="2"),
        rows("guest", range(8), 99, machine="away", at="2"),
    )

    changed = ("rank",)  # a third row makes ranks among three
    for label in ("original", "retrain", "one", "two"):
        old, new = (dataclasses.asdict(row_of(t, label)) for t in (before, after))
        assert {k: v for k, v in old.items() if k not in changed} == {
            k: v for k, v in new.items() if k not in changed
        }


def test_a_run_whose_references_are_not_all_in_the_records_is_left_out_and_said():
    away = [
        line
        for line in references(range(2), machine="away")
        if not (isinstance(line, Run) and line.draw == 2)
    ]

    table = table_of(
        references(range(2)), rows("m", range(2), 84), away, rows("g", [0, 1], 1, machine="away")
    )

    assert [each.label for each in table.rows] == ["original", "retrain", "m"]
    assert table.selection.unpaired["g"] == 2
    assert "Left out: 2 runs of `g` whose retrained models are not in" in scenario_page(table)


def test_a_diverged_run_without_references_in_the_records_is_not_hidden():
    table = table_of(
        references(range(3)),
        rows("m", range(2), 84),
        [run("m", 2, machine="away", status="diverged")],
    )

    row = row_of(table, "m")
    assert (row.outcomes.by_status, row.gap) == ({"finished": 2, "diverged": 1}, None)


def test_of_two_machines_runs_of_a_replicate_those_of_the_fuller_machine_stand():
    table = table_of(
        references(range(4)),
        references(range(4), machine="away", forget=60),
        rows("m", range(2), 84),
        rows("m", range(1, 4), 66, machine="away", at="2"),
        rows("n", range(4), 84),
    )

    assert row_of(table, "m").outcomes.replicates == 4
    assert forget_of(table, "m") == pytest.approx((84 + 3 * 66) / 4)
    assert row_of(table, "m").gap.mean == pytest.approx((4 + 3 * 6) / 4 / 4)
    assert table.selection.repeated == 1
    assert "Left out: 1 run of another machine than" in scenario_page(table)


def test_of_two_machines_with_as_many_replicates_that_of_the_main_references_stands():
    table = table_of(
        references(range(2)),
        references(range(2), machine="away", forget=60, at="0"),
        rows("m", range(2), 84, at="2"),
        rows("m", range(2), 66, machine="away", at="1"),
        rows("n", range(2), 84),
    )

    assert forget_of(table, "m") == 84


OLD, NEW = {"source": "old", "at": "1"}, {"source": "new", "at": "2"}


def test_one_replicate_of_a_new_source_does_not_take_the_place_of_ten():
    table = table_of(
        references(range(10)), rows("m", range(10), 84, **OLD), rows("m", [0], 99, **NEW)
    )

    row = row_of(table, "m")
    assert (row.outcomes.replicates, forget_of(table, "m")) == (10, 84)
    assert row.newer_source == (1, 10)
    assert table.left_out == 1


def test_a_new_source_stands_as_soon_as_it_has_the_replicates_of_the_old():
    table = table_of(
        references(range(10)), rows("m", range(10), 84, **OLD), rows("m", range(10), 99, **NEW)
    )

    assert forget_of(table, "m") == 99
    assert row_of(table, "m").newer_source is None


def test_other_replicates_do_not_count_for_a_new_source():
    table = table_of(
        references(range(20)), rows("m", range(5), 84, **OLD), rows("m", range(4, 20), 99, **NEW)
    )

    assert forget_of(table, "m") == 84
    assert row_of(table, "m").newer_source == (1, 5)


def test_a_source_between_two_stands_where_it_has_all_that_the_older_has():
    found = [references(range(4)), rows("m", range(2), 84, **OLD)]
    found += [rows("m", range(3), 90, **NEW), rows("m", range(1), 99, source="last", at="3")]

    table = table_of(*found)

    assert forget_of(table, "m") == 90
    assert row_of(table, "m").newer_source == (1, 3)


def test_a_source_put_back_and_recorded_anew_stands_again():
    table = table_of(
        references(range(3)),
        rows("m", range(3), 84, source="old", at="3"),
        rows("m", range(3), 99, **NEW),
    )

    assert (forget_of(table, "m"), row_of(table, "m").newer_source) == (84, None)


def test_failures_are_shown_with_their_reasons_and_leave_the_row_without_gap_and_rank():
    failed = [
        run("m", seed, status="failed", digest="", original="", retrained=(), cost=Cost({}, 0.0))
        for seed in range(4)
    ]
    failed = [dataclasses.replace(each, reason=f"why {i % 2}") for i, each in enumerate(failed)]

    table = table_of(
        references(range(10)), failed, rows("m", range(4, 10), 84), rows("n", range(10), 90)
    )

    row = row_of(table, "m")
    assert row.outcomes.by_status == {"failed": 4, "finished": 6}
    assert row.outcomes.replicates == 10
    assert row.unranked == "failed: 4 of 10 (why 0; other reasons: 1)"
    assert (row.gap, row.rank) == (None, None)
    assert row.finished_gap.n == 6
    assert row.spending.passes.mean == 100
    assert row_of(table, "n").gap is not None


def test_a_row_of_failures_alone_has_neither_passes_nor_seconds():
    failed = run("m", 0, status="failed", digest="", original="", retrained=(), reason="why")

    table = table_of(references([0]), [failed])

    spending = row_of(table, "m").spending
    assert (spending.passes, spending.seconds) == (None, None)
    assert "| m " in scenario_page(table)


def defined(epochs):
    return {"scenario": dataclasses.replace(SCENARIO, recipe=Recipe(epochs, 0.1))}


def test_a_new_definition_stands_when_it_has_the_retrained_replicates_of_the_old():
    old = [references(range(3), at="1"), rows("m", range(3), 84, at="1")]
    one = [references([0], at="2", **defined(2)), rows("m", [0], 99, at="2", **defined(2))]
    three = [
        references(range(3), at="2", **defined(2)),
        rows("m", [0], 99, at="2", **defined(2)),
    ]

    early, late = table_of(*old, *one), table_of(*old, *three)

    assert (early.scenario.recipe.epochs, late.scenario.recipe.epochs) == (1, 2)
    assert early.selection.newer_definition == (1, 3)
    assert "of the scenario: the newest has 1 of its 3 replicates" in scenario_page(early)
    assert late.selection.newer_definition is None
    assert late.left_out == 15


def test_a_page_does_not_depend_on_the_order_of_lines():
    found = [
        *references(range(4)),
        *references(range(4), machine="away", forget=60),
        *rows("m", range(4), 84),
        *rows("m", range(4), 66, machine="away"),
        *rows("n", range(2), 70, machine="away", **OLD),
        *rows("n", range(1), 70, **NEW),
    ]
    shuffled = random.Random(1).sample(found, len(found))

    assert tables(found) == tables(shuffled)
