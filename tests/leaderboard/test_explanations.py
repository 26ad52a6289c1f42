"""The text under a table says what its reader must know, and no more."""

import dataclasses

from worlds import cells, lines, row_of, world

from harness import Estimate
from harness.leaderboard.pages import render, scenario_page
from harness.leaderboard.selection import Progress
from harness.leaderboard.table import tables
from harness.records.lines import Basis, Measurement, Run


def test_runs_that_were_not_isolated_are_counted():
    found = world({"near": 0}, n=3)
    run, *measured = lines("m", 0, [1, 1, 1, 1])
    shared = dataclasses.replace(run, circumstances={**run.circumstances, "isolated": False})

    page = scenario_page(tables([*found, shared, *measured])[0])

    assert "Not isolated: 1 run of 16, made in the command's own process" in page
    assert "Not isolated" not in scenario_page(tables(found)[0])


def test_rows_of_an_earlier_source_and_of_other_machines_are_marked_and_explained():
    table = tables(world({"near": 0, "far": 8}))[0]
    changed = {"near": {"newer_source": Progress(1, 8)}}
    changed["far"] = {"elsewhere": "another box (cpu)"}
    marked = [dataclasses.replace(s, **changed.get(s.label, {})) for s in table.rows]

    page = scenario_page(dataclasses.replace(table, rows=tuple(marked)))

    note = "of an earlier source: the newest has 1 of its 8 replicates"
    assert cells(page, "near")["Note"] == note
    assert cells(page, "far")["Note"] == "own references on another box (cpu)"
    assert "*Of an earlier source*: the method has changed since" in page
    assert "*Own references*: the row was judged against" in page


def test_runs_of_an_earlier_definition_of_the_scenario_are_left_out_and_counted():
    run, *measured = lines("m", 0, [1, 1, 1, 1], at="2026-01-01")
    old = dataclasses.replace(run, basis=Basis("another hash"))
    found = [old, *measured, *lines("m", 1, [2, 2, 2, 2], at="2026-01-02")]

    table = tables(found)[0]

    assert (table.left_out, row_of(table, "m").outcomes.replicates) == (1, 1)
    assert "Left out: 1 run in all, of another definition" in scenario_page(table)


def test_a_table_holds_one_version_of_a_protocol_and_says_what_it_leaves_out():
    found = world({"m": 0}, n=3)
    first, second, *_ = [x for x in found if isinstance(x, Run) and x.method == "m"]
    later = Measurement(first.run_id, "loss-mia", 2, {"auc": Estimate(51.0)})
    kept = [x for x in found if not (isinstance(x, Measurement) and x.run_id == second.run_id)]

    table = tables([*found, later])[0]

    assert row_of(table, "m").metrics["loss-mia.auc"].value.n == 1
    assert "loss-mia.auc" not in row_of(table, "retrain").metrics
    assert table.outdated == ("loss-mia",)
    assert "an earlier version of `loss-mia`" in scenario_page(table)
    assert "an earlier version" not in scenario_page(tables(kept)[0])


def test_an_attack_that_was_not_measured_is_named():
    found = [
        dataclasses.replace(x, scenario=dataclasses.replace(x.scenario, mia="no-such.thing"))
        if isinstance(x, Run)
        else x
        for x in world({"m": 0}, n=3)
    ]

    page = scenario_page(tables(found)[0])

    reason = "no run has a value of `no-such.thing`, which the average gap needs"
    assert f"Nothing is ranked: {reason}" in page
    assert cells(page, "m")["Note"] == "no gap"
    assert "smallest ratio" not in page


def test_a_row_that_lacks_replicates_says_so_and_one_elsewhere_has_no_rank():
    found = world({"near": 0, "far": 8})
    for seed in range(5):
        found += lines("some", seed, [82 + seed % 2, 100, 80, 50])
    for seed in (100, 101, 102):
        for draw in range(3):
            found += lines("retrain", seed, [80, 100, 80, 50], draw=draw, source="")
        found += lines("elsewhere", seed, [40 + seed, 0, 0, 0])

    table = tables(found)[0]
    page = scenario_page(table)

    assert cells(page, "elsewhere")["Note"] == "has 0 of the page's 8 replicates"
    assert cells(page, "some")["Note"] == "has 5 of the page's 8 replicates"
    assert "1 (1–1) of 2" in render(found)["near.md"]
    assert "**Not ranked**: 2 rows" in page
    assert "replicates (seeds 0–7, those that the most methods have)" in page
