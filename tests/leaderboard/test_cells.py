"""What a row says in its cells."""

import dataclasses

import pytest
from worlds import cells, lines, ranks_of, references, row, row_of, world

from harness import Cost
from harness.leaderboard.pages import render, scenario_page
from harness.leaderboard.table import tables


def test_a_reason_of_any_kind_is_text_in_its_cell():
    found = world({"near": 0})
    run, *_ = lines("bad", 0, [None] * 4, status="failed", reason="not a <class 'x'>, *args | 2")

    page = scenario_page(tables([*found, run])[0])

    assert r"failed: 1 of 1 (not a \<class 'x'>, \*args \| 2)" in page


def test_a_row_beyond_the_budget_or_untuned_beside_tuned_ones_says_so_wherever_it_stands():
    found = [*world({"far": 8}), *row("costly", 0, passes=20.1)]
    found += row("tuned", 4, passes=20.0, chosen="tuned, 20 trials", config={"lr": 1})

    pages = render(found)
    notes = {name: cells(pages["s.md"], name)["Note"] for name in ("costly", "tuned", "far")}

    assert notes == {
        "costly": "defaults; beyond the budget: 20.1%",
        "tuned": "",
        "far": "defaults",
    }
    assert "n = 8; defaults; beyond the budget: 20.1% | 1 (1–1) of 3" in pages["costly.md"]
    assert "costly (defaults, beyond the budget: 20.1%)" in pages["README.md"]
    assert "takes more than 20 % of retraining's passes" in pages["s.md"]


def test_without_tuned_rows_defaults_are_no_news():
    page = scenario_page(tables(world({"near": 0, "far": 8}))[0])

    assert cells(page, "near")["Note"] == cells(page, "retrain")["Note"] == ""
    assert "beyond the budget" not in page.lower()


def test_a_row_with_more_replicates_is_shown_as_it_is_ranked():
    found = [*world({"near": 0, "far": 8}), *references(range(8, 12))]
    found += row("more", 4)
    found += row("more", 40, seeds=range(8, 12))

    table = tables(found)[0]

    more = row_of(table, "more")
    assert more.rank == (2, 2, 2)
    assert more.gap.n == more.metrics["accuracy.forget"].value.n == 8
    assert more.gap.mean == pytest.approx(1, abs=0.2)
    assert cells(scenario_page(table), "more")["n"] == "8 of 12"


def test_what_set_gives_on_the_command_line_is_set_by_hand(unlearn, work):
    unlearn("run", "finetune", "--scenario", "tiny", "--set", "finetune.lr=0.02")

    unlearn("leaderboard")

    page = (work / "leaderboards" / "tiny.md").read_text(encoding="utf-8")
    assert cells(page, "finetune")["Note"].startswith("set by hand")


def test_a_method_of_which_every_run_failed_has_its_row_and_its_reason():
    found = world({"near": 0, "far": 8})
    for seed in range(8):
        run, *_ = lines("never", seed, [None] * 4, status="failed", reason="ValueError: no")
        found.append(dataclasses.replace(run, cost=Cost({}, 0.0)))

    shown = cells(scenario_page(tables(found)[0]), "never")

    assert (shown["Rank"], shown["Average gap"], shown["n"]) == ("–", "–", "0 of 8")
    assert shown["Note"] == "failed: 8 of 8 (ValueError: no)"
    assert shown["Passes"] == "–"


def test_a_row_with_a_diverged_run_is_shown_and_not_ranked():
    found = world({"near": 0, "far": 8})
    found += lines("near", 99, [None] * 4, status="diverged")

    table = tables(found)[0]

    near, shown = row_of(table, "near"), cells(scenario_page(table), "near")
    assert near.outcomes.by_status == {"finished": 8, "diverged": 1}
    assert (near.rank, near.gap, near.finished_gap.n) == (None, None, 8)
    assert row_of(table, "far").rank == (1, 1, 1)
    assert (shown["Rank"], shown["Note"], shown["n"]) == ("–", "diverged: 1 of 9", "8 of 9")
    assert shown["Average gap"].endswith(" in 8 of 9")
    result = next(line for line in render(found)["near.md"].splitlines() if "s.md" in line)
    assert "diverged: 1 of 9" in result


def test_a_method_that_raised_in_its_bad_replicates_is_not_ranked_on_the_others():
    found = world({"near": 0, "far": 8})
    found += row("wild", 0.0, seeds=range(5))
    for seed in (5, 6, 7):
        why = "RuntimeError: no | memory" if seed < 7 else "killed by signal 9"
        run, *_ = lines("wild", seed, [None] * 4, status="failed", reason=why)
        found.append(dataclasses.replace(run, cost=Cost({}, 0.0)))

    table = tables(found)[0]

    wild, page = row_of(table, "wild"), scenario_page(table)
    assert (wild.rank, wild.gap, wild.finished_gap.n) == (None, None, 5)
    assert wild.unranked == "failed: 3 of 8 (RuntimeError: no | memory; other reasons: 1)"
    assert "RuntimeError: no \\| memory" in page
    assert wild.spending.passes.mean == 10
    assert {*ranks_of(found)} == {"near", "far"}
    assert [s.label for s in table.rows][-1] == "wild"
