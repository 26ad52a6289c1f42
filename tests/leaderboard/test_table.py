"""From lines to the ranks and the order of a table."""

import itertools
import statistics

import pytest
from worlds import cells, lines, ranks_of, references, row, row_of, world

from harness.leaderboard.pages import render, scenario_page
from harness.leaderboard.table import tables


def test_ranks_reach_from_the_better_to_the_worse_rows_and_leave_out_the_references():
    table = tables(world({"near": 0, "also-near": 0.05, "far": 8}))[0]

    ranks = {s.label: s.rank for s in table.rows}

    assert ranks == {
        "original": None,
        "retrain": None,
        "also-near": (1, 1, 2),
        "near": (2, 1, 2),
        "far": (3, 3, 3),
    }
    assert [s.label for s in table.rows][:2] == ["original", "retrain"]
    assert table.discriminates
    assert table.smallest_ratio > 1
    assert f"{table.smallest_ratio:.2f}" in scenario_page(table)


def test_a_scenario_in_which_the_original_looks_retrained_ranks_nothing():
    table = tables(world({"near": 0, "far": 8}, original=(80, 100, 80, 50)))[0]

    assert table.discriminates is False
    assert all(s.rank is None for s in table.rows)
    assert cells(scenario_page(table), "near")["Note"] == "this scenario does not discriminate"
    assert "Nothing is ranked: this scenario does not discriminate" in scenario_page(table)
    assert "smallest ratio" not in scenario_page(table)


def test_two_replicates_are_shown_and_not_ranked():
    table = tables(world({"near": 0, "far": 8}, n=2))[0]

    assert table.discriminates is None
    assert all(s.rank is None for s in table.rows)
    reason = "fewer than 3 independent replicates have original and retrained models"
    assert cells(scenario_page(table), "near")["Note"] == reason
    assert f"Nothing is ranked: {reason}" in scenario_page(table)


def test_references_alone_discriminate_and_rank_nothing():
    table = tables(world({}))[0]

    assert (table.discriminates, table.obstacle, table.ranked) == (True, "", 0)
    assert "Nothing is ranked: no row meets what a rank requires" in scenario_page(table)


def test_five_replicates_give_the_order_alone():
    table = tables(world({"near": 0, "far": 8}, n=5))[0]
    page = scenario_page(table)

    assert row_of(table, "far").rank == (2, None, None)
    assert cells(page, "far")["Rank"] == "2 of 2"
    assert "no difference is tested with 5 replicates" in page
    assert "smallest ratio" not in page
    assert "not tested" in render(world({"near": 0, "far": 8}, n=5))["README.md"]


@pytest.mark.parametrize(
    "more",
    [
        [*references(range(100, 103)), *row("new", 1, seeds=range(100, 103))],
        [*references(range(100, 112)), *row("new", 1, seeds=range(100, 112))],
        row("new", 1, seeds=range(6)),
        [
            line
            for i in range(100)
            for line in row("near", i / 10, config={"lr": i}, chosen="by hand")
        ],
        row("far", 0, seeds=range(3), config={"lr": 1}, chosen="tuned, 20 trials"),
    ],
    ids=["elsewhere", "many elsewhere", "fewer", "by hand", "tuning begun"],
)
def test_whoever_else_comes_every_rank_and_set_stays_as_it_is(more):
    found = world({"near": 0, "middle": 2, "far": 8})
    before = ranks_of(found)

    after = tables([*found, *more])[0]

    assert {s.method: s.rank for s in after.rows if s.rank is not None} == before
    assert {s.method for s in after.rows if s.unranked} <= {"new", "near", "far"}
    assert any(s.unranked for s in after.rows)


def test_a_newcomer_on_the_pages_replicates_and_more_is_ranked_among_the_others():
    found = [*world({"near": 0, "far": 8}), *references(range(8, 12))]

    ranks = ranks_of([*found, *row("new", 4, seeds=range(12))])

    assert ranks == {"near": (1, 1, 1), "new": (2, 2, 2), "far": (3, 3, 3)}


def test_a_row_by_hand_is_shown_with_its_reason_behind_the_ranked_ones():
    found = world({"near": 0, "far": 8})
    found += row("near", 0.1, config={"lr": 0.5}, chosen="by hand")

    table = tables(found)[0]

    (by_hand,) = (s for s in table.rows if s.settings.chosen == "by hand")
    page = scenario_page(table)
    assert (by_hand.rank, by_hand.unranked) == (None, "set by hand")
    assert table.rows[-1] is by_hand
    assert cells(page, "near (lr=0.5)")["Note"] == "set by hand"
    assert "**Not ranked**: 1 row, with the reason in the note" in page
    assert row_of(table, "far").rank == (2, 2, 2)


def test_a_table_gives_the_gaps_that_its_ranks_rest_on():
    (table,) = tables(world({"near": 0, "far": 8}))

    assert {*table.gaps} == {"near", "far"}
    for label, gaps in table.gaps.items():
        assert len(gaps) == 8
        assert statistics.fmean(gaps.values()) == pytest.approx(row_of(table, label).gap.mean)


def test_rows_stand_in_the_order_of_their_gaps_behind_the_references():
    steady = world({"near": 2, "far": 8}, n=4)
    wild = [lines("wild", s, (80 + 40 * (s == 0), 100, 80, 50 + 40 * (s == 0))) for s in range(4)]

    (table,) = tables([*steady, *itertools.chain(*wild)])

    shown = [each for each in table.rows if each.method not in ("original", "retrain")]
    assert [each.label for each in shown] == sorted(table.gaps, key=lambda m: mean_of(table, m))
    assert [each.rank.place for each in shown] == [1, 2, 3]
    assert shown[0].label != "wild"


def mean_of(table, label):
    return statistics.fmean(table.gaps[label].values())
