"""The scores of rows: what is averaged, what is summed, and which measurements count."""

import pytest
from scored import scored, summary
from worlds import lines, references, row, world

from harness import Metric
from harness.leaderboard.score_curves import together
from harness.leaderboard.table import tables
from harness.records.lines import Definition
from harness.specs.score_summary import BINS, FPRS


def flat(tpr):
    return summary([tpr] * len(FPRS))


def scores_of(found, protocol="attack"):
    return tables(found)[0].scores[protocol]


def test_a_row_has_the_mean_the_lowest_and_the_highest_rate_of_its_runs():
    row = together({"m": [flat(0.25), flat(0.5), flat(0.0)]}).rows["m"]

    assert {*row.tpr} == {0.25}
    assert {*row.lowest} == {0.0}
    assert {*row.highest} == {0.5}


def test_histograms_are_summed_and_become_shares():
    first = summary(members={0: 3, 5: 1}, nonmembers={1: 10})
    second = summary(members={0: 6}, nonmembers={1: 20, 2: 10})

    found = together({"m": [first, second]})

    assert found.rows["m"].members == (0.9, 0, 0, 0, 0, 0.1, *[0] * (BINS - 6))
    assert found.rows["m"].nonmembers == (0, 0.75, 0.25, *[0] * (BINS - 3))
    assert found.fewest == 10


def test_histograms_of_unequal_edges_are_drawn_on_the_widest():
    narrow = summary(members={0: 2, 1: 2, 23: 4})
    wide = summary(low=0, high=2, members={0: 8})

    found = together({"m": [narrow], "n": [wide]})

    assert (found.low, found.high) == (0, 2)
    assert found.rows["m"].members == pytest.approx([0.5, *[0] * 10, 0.5, *[0] * 12])
    assert found.rows["n"].members == (1, *[0] * (BINS - 1))


def test_a_protocol_whose_value_all_replicates_share_counts_once():
    by_seed = [flat(0.1), flat(0.5), flat(0.9)]
    found = scored(world({"m": 1}, n=3), lambda run: by_seed[run.replicate.seed])
    definition = Definition("attack", 1, (Metric("tpr@0.1%", shared=True),))

    apart, once = scores_of(found), scores_of([*found, definition])

    assert apart.rows["m"].tpr == pytest.approx([0.5] * len(FPRS))
    assert {*once.rows["m"].tpr} == {0.1}
    assert {*once.rows["retrain"].highest} == {0.1}


def test_scores_by_an_earlier_version_of_a_protocol_are_left_out():
    every = world({"m": 1, "other": 2}, n=3)
    found = scored(every, lambda run: flat(0.1) if run.method == "m" else None)
    found = scored(found, lambda run: flat(0.2) if run.method == "other" else None, version=2)

    assert {*scores_of(found).rows} == {"other"}


def test_a_ranked_row_shows_the_scores_of_the_pages_own_replicates_alone():
    further = [*references([99]), *lines("near", 99, [80, 100, 80, 50])]
    every = [*world({"near": 0, "far": 8, "other": 4}), *further]
    found = scored(every, lambda run: flat(0.9 if run.replicate.seed == 99 else 0.1))

    scores = scores_of(found)

    assert {*scores.rows["near"].highest} == {0.1}
    assert {*scores.rows["retrain"].highest} == {0.9}  # a reference shows all that it has


def test_rows_of_one_method_have_their_own_scores():
    every = world({"m": 1}, n=3) + row("m", 2, seeds=range(3), config={"lr": 1})
    found = scored(every, lambda run: flat(0.5 if run.config else 0.25))

    rows = scores_of(found).rows

    assert {*rows["m (lr=1)"].tpr} == {0.5}
    assert len(rows) == 4


def test_a_page_without_recorded_scores_has_none():
    assert tables(world({"m": 1}))[0].scores == {}
