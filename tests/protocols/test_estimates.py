"""Estimates and their intervals, against independent references and closed forms."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from harness.protocols.estimates import delong, proportion, tpr_at_fpr


def scores(m, n, *, shift=0.7, decimals=None, seed=0):
    rng = np.random.default_rng(seed)
    members, nonmembers = rng.normal(shift, 1, m), rng.normal(0, 1, n)
    if decimals is None:
        return members, nonmembers
    return members.round(decimals), nonmembers.round(decimals)


def truth(members, nonmembers):
    return np.repeat([1, 0], [len(members), len(nonmembers)]), np.concatenate([members, nonmembers])


def delong_by_definition(members, nonmembers):
    """AUC and its standard error from the m × n matrix of comparisons."""
    x, y = np.asarray(members)[:, None], np.asarray(nonmembers)[None, :]
    wins = (x > y) + 0.5 * (x == y)
    variance = wins.mean(1).var(ddof=1) / len(x) + wins.mean(0).var(ddof=1) / y.size
    return wins.mean(), math.sqrt(variance)


class TestProportion:
    @pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (4321, 10000)])
    def test_has_wilsons_closed_form_as_interval(self, successes, n):
        z, p = stats.norm.ppf(0.975), successes / n
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))

        estimate = proportion(successes, n)

        assert estimate.value == pytest.approx(100 * p)
        assert estimate.low == pytest.approx(100 * (centre - half), abs=1e-9)
        assert estimate.high == pytest.approx(100 * (centre + half), abs=1e-9)
        assert estimate.n == n

    def test_of_nothing_has_no_value_but_a_reason(self):
        estimate = proportion(0, 0)

        assert (estimate.value, estimate.low, estimate.high) == (None, None, None)
        assert estimate.note

    def test_refuses_more_successes_than_points(self):
        with pytest.raises(ValueError, match="k"):
            proportion(11, 10)


class TestDelong:
    @pytest.mark.parametrize("decimals", [None, 1, 0], ids=["no ties", "ties", "many ties"])
    def test_is_around_scikit_learns_area(self, decimals):
        members, nonmembers = scores(211, 97, decimals=decimals)

        assert delong(members, nonmembers).value == pytest.approx(
            100 * roc_auc_score(*truth(members, nonmembers)), abs=1e-10
        )

    def test_counts_a_tie_as_half(self):
        assert delong([2.0, 1.0], [1.0]).value == 75

    def test_of_exchanged_sides_is_the_complement(self):
        members, nonmembers = scores(50, 70, decimals=1)

        assert delong(nonmembers, members).value == pytest.approx(
            100 - delong(members, nonmembers).value
        )

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_refuses_scores_that_are_not_finite(self, bad):
        with pytest.raises(ValueError, match="finite; 1 of 2"):
            delong([1.0], [bad, 0.0])
        with pytest.raises(ValueError, match="finite; 1 of 2"):
            tpr_at_fpr([1.0], [bad, 0.0], 1.0)

    def test_refuses_scores_that_are_no_vector(self):
        with pytest.raises(ValueError, match=r"\(2, 1\)"):
            delong([[1.0], [2.0]], [1.0])

    @pytest.mark.parametrize("decimals", [None, 0], ids=["no ties", "many ties"])
    @pytest.mark.parametrize(("m", "n"), [(60, 60), (151, 40), (2, 300)])
    def test_follows_the_definition(self, m, n, decimals):
        members, nonmembers = scores(m, n, shift=0.2, decimals=decimals)
        area, error = delong_by_definition(members, nonmembers)
        half = stats.norm.ppf(0.975) * error

        estimate = delong(members, nonmembers)

        assert estimate.value == pytest.approx(100 * area, abs=1e-9)
        assert estimate.low == pytest.approx(100 * max(area - half, 0), abs=1e-9)
        assert estimate.high == pytest.approx(100 * min(area + half, 1), abs=1e-9)
        assert estimate.n == m + n

    def test_covers_the_true_area_about_95_times_in_100(self):
        true, covered, repeats = 100 * stats.norm.cdf(0.5 / math.sqrt(2)), 0, 1000
        rng = np.random.default_rng(0)
        for _ in range(repeats):
            estimate = delong(rng.normal(0.5, 1, 80), rng.normal(0, 1, 120))
            covered += estimate.low <= true <= estimate.high

        assert 0.93 <= covered / repeats <= 0.97

    def test_is_unmoved_by_a_monotone_map_and_by_order(self):
        members, nonmembers = scores(80, 90)

        assert delong(np.exp(members)[::-1], np.exp(nonmembers)) == delong(members, nonmembers)

    def test_stays_within_0_and_100(self):
        estimate = delong([3.0, 2.0, 0.5], [1.0, 0.0, -1.0])

        assert estimate.high == 100
        assert estimate.low >= 0

    def test_of_constant_scores_is_50(self):
        assert delong([1.0] * 5, [1.0] * 7).value == 50

    def test_has_no_interval_where_a_side_is_a_single_point(self):
        estimate = delong([1.0], [0.0, 2.0])

        assert (estimate.value, estimate.low, estimate.high) == (50, None, None)

    @pytest.mark.parametrize(
        ("members", "nonmembers", "note"),
        [([], [1.0], "no members"), ([1.0], [], "no non-members")],
    )
    def test_of_an_empty_side_has_no_value_but_a_reason(self, members, nonmembers, note):
        estimate = delong(members, nonmembers)

        assert estimate.value is None
        assert estimate.note == note


class TestTprAtFpr:
    @pytest.mark.parametrize("fpr", [0.01, 0.1, 0.29, 0.5, 1.0])
    @pytest.mark.parametrize("decimals", [None, 1, 0], ids=["no ties", "ties", "many ties"])
    def test_is_the_largest_of_the_whole_curve(self, fpr, decimals):
        members, nonmembers = scores(300, 1000, decimals=decimals)
        fprs, tprs, _ = roc_curve(*truth(members, nonmembers), drop_intermediate=False)

        estimate = tpr_at_fpr(members, nonmembers, fpr)

        assert estimate.value == pytest.approx(100 * tprs[fprs <= fpr].max())

    def test_has_the_clopper_pearson_interval(self):
        nonmembers = np.arange(1000.0)
        members = np.where(np.arange(50) < 20, 2000.0, -1.0)

        estimate = tpr_at_fpr(members, nonmembers, 0.01)

        assert estimate.value == 40
        assert estimate.low == pytest.approx(100 * stats.beta.ppf(0.025, 20, 31))
        assert estimate.high == pytest.approx(100 * stats.beta.ppf(0.975, 21, 30))
        assert estimate.n == 50

    def test_allows_exactly_the_stated_share_of_false_positives(self):
        nonmembers = np.arange(1000.0)

        assert tpr_at_fpr([990.0], nonmembers, 0.01).value == 100
        assert tpr_at_fpr([989.0], nonmembers, 0.01).value == 0
        assert tpr_at_fpr([989.5], nonmembers, 0.01).value == 100

    def test_is_not_measurable_on_fewer_non_members_than_ten_over_the_rate(self):
        members, nonmembers = scores(50, 1000)

        assert tpr_at_fpr(members, nonmembers[:999], 0.01).note == "not measurable at n = 999"
        assert tpr_at_fpr(members, nonmembers[:999], 0.01).value is None
        assert tpr_at_fpr(members, nonmembers, 0.01).value is not None
        assert tpr_at_fpr(members, nonmembers[:99], 0.1).value is None
        assert tpr_at_fpr(members, nonmembers[:100], 0.1).value is not None

    def test_of_an_empty_side_has_no_value_but_a_reason(self):
        assert tpr_at_fpr([], np.arange(1000.0), 0.01).note == "no members"
        assert tpr_at_fpr([1.0], [], 0.01).note == "no non-members"

    @pytest.mark.parametrize("fpr", [0.0, -0.1, 1.1])
    def test_refuses_a_rate_that_is_none(self, fpr):
        with pytest.raises(ValueError, match=str(fpr)):
            tpr_at_fpr([1.0], [0.0], fpr)
