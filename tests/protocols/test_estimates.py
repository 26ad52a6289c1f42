"""Estimates and their intervals, against independent references and closed forms."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from harness.attacks.ulira import ulira
from harness.protocols.estimates import (
    Equivalence,
    clustered_auc,
    clustered_equivalence,
    delong,
    equivalence,
    proportion,
    tpr_at_fpr,
)


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


def equivalence_by_hand(members, nonmembers, margin=0.02, null=0.5):
    value, error = delong_by_definition(members, nonmembers)
    p_low = stats.norm.sf((value - (null - margin)) / error)
    p_high = stats.norm.sf(((null + margin) - value) / error)
    return value, error, max(p_low, p_high)


class TestEquivalence:
    @pytest.mark.parametrize("shift", [0.0, 0.03, 0.2, -0.2])
    def test_is_two_one_sided_tests_with_delongs_error(self, shift):
        members, nonmembers = scores(1500, 1300, shift=shift)
        value, error, p = equivalence_by_hand(members, nonmembers)

        found = equivalence(members, nonmembers)

        assert found.p_value == pytest.approx(p, rel=1e-6)
        assert found.low == pytest.approx(value - 1.6448536 * error)
        assert found.high == pytest.approx(value + 1.6448536 * error)
        inside = found.low > 0.48 and found.high < 0.52
        assert found.verdict == ("equivalent" if inside else "not equivalent")

    def test_says_equivalent_of_many_scores_of_one_law(self):
        assert equivalence(*scores(10_000, 10_000, shift=0)).verdict == "equivalent"

    def test_says_not_equivalent_of_over_forgetting_too(self):
        assert equivalence(*scores(5000, 5000, shift=-0.3)).verdict == "not equivalent"

    @pytest.mark.parametrize(("n", "underpowered"), [(1120, True), (1130, False)])
    def test_neither_passes_nor_fails_below_about_1130_a_side(self, n, underpowered):
        found = equivalence(*scores(n, n, shift=0))

        assert (found.verdict == f"underpowered at n = {n}") == underpowered
        assert found.p_value is not None

    def test_is_underpowered_however_large_the_difference(self):
        found = equivalence(*scores(50, 5000, shift=2))

        assert found.verdict == "underpowered at n = 50"
        assert found.low > 0.8

    @pytest.mark.parametrize("m", [0, 1])
    def test_of_no_interval_is_underpowered(self, m):
        found = equivalence(np.zeros(m), np.arange(5000.0))

        assert found == Equivalence(f"underpowered at n = {m}", None, None, None)

    def test_is_relative_to_the_null_that_is_given(self):
        members, nonmembers = scores(20_000, 20_000, shift=0.1)
        target = delong(members, nonmembers).value / 100

        assert equivalence(members, nonmembers, null=target).verdict == "equivalent"
        assert equivalence(members, nonmembers).verdict == "not equivalent"

    def test_of_constant_scores_is_certain(self):
        found = equivalence(np.ones(2000), np.ones(2000))

        assert found == Equivalence("equivalent", 0.0, 0.5, 0.5)

    def test_of_separated_scores_is_certain(self):
        found = equivalence(np.ones(2000), np.zeros(2000))

        assert found == Equivalence("not equivalent", 1.0, 1.0, 1.0)

    @pytest.mark.parametrize(("margin", "null"), [(0, 0.5), (1.0, 0.5), (0.02, 50)])
    def test_refuses_percentages(self, margin, null):
        with pytest.raises(ValueError, match="margin must be in"):
            equivalence(*scores(50, 50), margin=margin, null=null)

    def test_passes_an_auc_at_the_margin_in_at_most_five_per_cent(self):
        rng, shift = np.random.default_rng(0), math.sqrt(2) * stats.norm.ppf(0.52)
        passed = [
            equivalence(rng.normal(shift, 1, 2500), rng.normal(0, 1, 2500)).verdict
            for _ in range(400)
        ]

        assert 0.02 < passed.count("equivalent") / 400 < 0.085


def crossed(models=8, samples=60, *, shift=0.5, seed=0):
    """Scores of every pair of a model and a sample; half of each model's are members."""
    rng = np.random.default_rng(seed)
    member = np.argsort(rng.random((models, samples)), axis=0) < models // 2
    values = rng.normal(size=member.shape) + rng.normal(size=(models, 1)) + shift * member
    rows, columns = np.indices(member.shape)
    return [array.ravel() for array in (values, member, rows, columns)]


def clustered_by_hand(values, member, rows, columns):
    """AUC and standard error from the matrix of comparisons, cluster by cluster."""
    wins = (values[member, None] > values[~member]) + 0.5 * (
        values[member, None] == values[~member]
    )
    value, influence = wins.mean(), np.empty(len(values))
    influence[member] = (wins.mean(1) - value) / member.sum()
    influence[~member] = (wins.mean(0) - value) / (~member).sum()

    def variance(clusters):
        names = np.unique(clusters)
        sums = [influence[clusters == name].sum() for name in names]
        return np.sum(np.square(sums)) * len(names) / (len(names) - 1)

    independent = np.sum(influence**2)
    return value, math.sqrt(variance(columns) + max(0, variance(rows) - independent))


class TestClusteredAuc:
    @pytest.mark.parametrize("shift", [0.0, 1.5])
    @pytest.mark.parametrize("decimals", [8, 1])
    def test_sums_the_placements_by_model_and_by_sample(self, shift, decimals):
        values, *rest = crossed(shift=shift)
        values = values.round(decimals)
        value, error = clustered_by_hand(values, *rest)
        half = stats.t.ppf(0.975, 7) * error

        found = clustered_auc(values, *rest)

        assert found.value == pytest.approx(100 * value)
        assert found.low == pytest.approx(100 * max(0, value - half))
        assert found.high == pytest.approx(100 * min(1, value + half))
        assert found.n == 480

    def test_counts_a_repeated_sample_once(self):
        values, member, rows, columns = crossed(16, 40)
        once = clustered_auc(values, member, rows, columns)
        twice = clustered_auc(*(np.tile(x, 2) for x in (values, member, rows, columns)))

        assert twice.value == pytest.approx(once.value)
        assert twice.high - twice.low > 0.97 * (once.high - once.low)

    @pytest.mark.parametrize(("models", "allowed"), [(8, (0.92, 1)), (16, (0.92, 0.995))])
    def test_covers_one_half_over_perfect_unlearners(self, models, allowed):
        rng, covered = np.random.default_rng(models), 0
        for _ in range(200):
            first = rng.random((models // 2, 100)) < 0.5
            state = np.where(np.stack([first, ~first], 1).reshape(models, 100), 2, 0)
            phi = rng.normal(size=state.shape) * rng.gamma(3, 0.3, 100) + rng.normal(0, 2, 100)
            scored = ulira(phi + 0.5 * rng.normal(size=(models, 1)), state)
            found = clustered_auc(*scored[:4])
            covered += found.low <= 50 <= found.high

        assert allowed[0] <= covered / 200 <= allowed[1]

    def test_has_a_reason_where_there_is_no_interval(self):
        values, member, rows, columns = crossed()

        assert clustered_auc(values, member & False, rows, columns).note == "no members"
        assert clustered_auc(values, member, rows * 0, columns).note == (
            "too few models (1) or samples (60) for an interval"
        )

    def test_refuses_arrays_of_other_shapes(self):
        values, member, rows, columns = crossed()

        with pytest.raises(ValueError, match="members must be bool"):
            clustered_auc(values, member.astype(int), rows, columns)
        with pytest.raises(ValueError, match=r"clusters must be \(480,\)"):
            clustered_auc(values, member, rows[1:], columns)

    def test_equivalence_uses_the_same_error(self):
        arguments = crossed(16, 3000, shift=0.0)
        value, error = clustered_by_hand(*crossed(16, 100, shift=0.0))
        small = clustered_equivalence(*crossed(16, 100, shift=0.0))
        wide = clustered_equivalence(*crossed(16, 100, shift=0.0), margin=0.3)
        large = clustered_equivalence(*arguments, margin=0.1)

        assert small.verdict == "underpowered at n = 1600"
        assert wide.low == pytest.approx(value - stats.t.ppf(0.95, 15) * error)
        assert wide.p_value == pytest.approx(stats.t.sf((0.3 - abs(value - 0.5)) / error, 15))
        assert large.verdict in {"equivalent", "underpowered at n = 48000"}

    def test_equivalence_without_members_is_underpowered(self):
        values, member, rows, columns = crossed()

        found = clustered_equivalence(values, member & False, rows, columns)

        assert found.verdict == "underpowered at n = 0"
