"""Summaries of scores, against scikit-learn's ROC and counting by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from harness.protocols.score_summaries import summarise_scores
from harness.specs.score_summary import BINS, FPRS

INF = math.inf


def scores(m, n, *, decimals=None, seed=0):
    rng = np.random.default_rng(seed)
    both = rng.normal(0.7, 1, m), rng.normal(0, 1, n)
    return both if decimals is None else tuple(each.round(decimals) for each in both)


def roc_by_brute_force(members, nonmembers):
    """Of all points of the ROC with at most each rate of false positives, the largest TPR."""
    truth = np.repeat([1, 0], [len(members), len(nonmembers)])
    fpr, tpr, _ = roc_curve(truth, np.concatenate([members, nonmembers]), drop_intermediate=False)
    return [tpr[fpr <= rate + 1e-12].max() for rate in FPRS]


@pytest.mark.parametrize("decimals", [None, 1, 0], ids=["no ties", "ties", "many ties"])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (7, 3), (300, 1000), (500, 2345)])
def test_the_curve_is_scikit_learns_without_interpolation(m, n, decimals):
    members, nonmembers = scores(m, n, decimals=decimals)

    summary = summarise_scores(members, nonmembers, -3, 3)

    assert summary.tpr == pytest.approx(roc_by_brute_force(members, nonmembers), abs=1e-12)


def test_a_constant_score_finds_nobody_until_all_are_accused():
    summary = summarise_scores([0.5] * 9, [0.5] * 2000, 0, 1)

    assert summary.tpr == (*[0] * (len(FPRS) - 1), 1)


def test_a_perfect_attack_finds_all_without_a_false_positive():
    summary = summarise_scores([2, 3, INF], [1, 0, -INF], 0, 1)

    assert summary.tpr == (1,) * len(FPRS)


def test_members_below_all_non_members_are_found_last():
    summary = summarise_scores([-INF, 0], [1, 2, 3, 4], 0, 1)

    assert summary.tpr[-1] == 1
    assert set(summary.tpr[:-1]) == {0}


def test_every_score_is_counted_in_one_bin_and_those_outside_in_the_outermost():
    members = [-INF, -1, 0, 0.99, 1, 12, 23.5, 24, 25, INF]

    summary = summarise_scores(members, np.arange(BINS) + 0.5, 0, BINS)

    expected = [0] * BINS
    expected[0], expected[1], expected[12], expected[23] = 4, 1, 1, 4
    assert summary.members == tuple(expected)
    assert summary.nonmembers == (1,) * BINS
    assert (summary.low, summary.high) == (0, BINS)


def test_neither_the_order_of_scores_nor_an_increasing_map_changes_the_curve():
    members, nonmembers = scores(200, 1500)
    shuffled = np.random.default_rng(1).permutation(members)

    summary = summarise_scores(members, nonmembers, -3, 3)

    assert summarise_scores(shuffled, nonmembers[::-1], -3, 3) == summary
    assert summarise_scores(np.exp(members), np.exp(nonmembers), -3, 3).tpr == summary.tpr


@pytest.mark.parametrize(
    ("members", "nonmembers", "edges", "message"),
    [
        ([], [1.0], (0, 1), r"members: expected scores of shape \(n,\), n at least 1; got \(0,\)"),
        ([1.0], [[1.0]], (0, 1), r"nonmembers: expected scores of shape .* got \(1, 1\)"),
        ([1.0, math.nan], [1.0], (0, 1), "members: scores must not be NaN; 1 of 2 are"),
        ([1.0], [1.0], (1, 1), "low must be below high; got 1, 1"),
    ],
)
def test_what_cannot_be_summarised_is_refused(members, nonmembers, edges, message):
    with pytest.raises(ValueError, match=message):
        summarise_scores(members, nonmembers, *edges)
