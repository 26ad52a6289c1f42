"""Rows: their labels, sources, settings and cost."""

import dataclasses

from worlds import lines, row, row_of, world

from harness import Cost
from harness.leaderboard.table import tables


def test_settings_by_hand_that_are_the_methods_own_leave_it_its_rank():
    found = world({"near": 0, "far": 8})
    found += row("near", 0, seeds=[7], chosen="by hand", at="2")

    table = tables(found)[0]

    assert row_of(table, "near").settings.chosen == ""
    assert row_of(table, "near").rank == (1, 1, 1)


def test_a_row_stands_at_its_newest_source():
    found = lines("m", 0, [1, 1, 1, 1], source="old", at="2026-01-01")
    found += lines("m", 0, [2, 2, 2, 2], source="new", at="2026-01-02")

    table = tables(found)[0]

    assert row_of(table, "m").metrics["accuracy.forget"].value.mean == 2
    assert table.left_out == 1


def test_settings_of_an_older_source_are_no_row_any_more():
    found = lines("m", 0, [1, 1, 1, 1], config={"epochs": 2}, source="old", at="2026-01-01")
    found += lines("m", 0, [2, 2, 2, 2], config={}, source="new", at="2026-01-02")

    table = tables(found)[0]

    assert [s.label for s in table.rows] == ["m"]
    assert table.left_out == 1


def test_equal_numbers_are_one_row_and_a_run_made_twice_counts_once():
    found = lines("m", 0, [1, 1, 1, 1], config={"lr": 1}, at="2026-01-01")
    found += lines("m", 0, [3, 3, 3, 3], config={"lr": 1.0}, at="2026-01-02")
    found += lines("m", 1, [5, 5, 5, 5], config={"lr": 1.0}, at="2026-01-02")

    table = tables(found)[0]

    assert [s.label for s in table.rows] == ["m"]
    assert row_of(table, "m").metrics["accuracy.forget"].value.mean == 4
    assert table.left_out == 1


def test_a_setting_that_only_some_rows_have_names_them():
    found = lines("m", 0, [1, 1, 1, 1], config={"lr": 1})
    found += lines("m", 0, [2, 2, 2, 2], config={"lr": 1.0, "new": None})

    assert {s.label for s in tables(found)[0].rows} == {"m", "m (new=None)"}


def test_two_configs_are_two_rows_named_by_what_differs():
    found = lines("m", 0, [1, 1, 1, 1], config={"lr": 0.1, "epochs": 2})
    found += lines("m", 0, [2, 2, 2, 2], config={"lr": 0.2, "epochs": 2})

    assert {s.label for s in tables(found)[0].rows} == {"m (lr=0.1)", "m (lr=0.2)"}


def test_seconds_are_compared_on_one_kind_of_hardware_only():
    found = world({"m": 0}, n=3)
    run, *measured = lines("m", 7, [80, 100, 80, 50])
    elsewhere = {**run.circumstances, "hardware": "another box"}
    slow = dataclasses.replace(run, circumstances=elsewhere, cost=Cost({"train": 1e6}, 100.0))

    table = tables([*found, slow, *measured])[0]

    assert row_of(table, "m").spending.seconds.mean == 1.0
    assert "box (cpu" in table.hardware


def test_a_long_reason_is_cut():
    found = world({"near": 0})
    run, *_ = lines("bad", 0, [None] * 4, status="failed", reason="x" * 500)

    (bad,) = (s for s in tables([*found, run])[0].rows if s.method == "bad")

    assert bad.unranked == f"failed: 1 of 1 ({'x' * 99}…)"
