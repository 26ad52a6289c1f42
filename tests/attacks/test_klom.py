"""KLOM against the released rules point by point, the published nulls and closed forms."""

import numpy as np
import pytest
from scipy import stats

from harness.attacks.klom import CEILING, klom, null, summary


def ensembles(models=30, points=40, *, shift=0.5, seed=0):
    rng = np.random.default_rng(seed)
    offset = rng.normal(0, 2, points)
    return rng.normal(size=(models, points)) + offset + shift, rng.normal(
        size=(models, points)
    ) + offset


def by_point(unlearned, oracles, bins, *, drop_largest):
    """KL(oracles ‖ unlearned) by histograms, with scipy's entropy."""
    found = []
    for u, o in zip(np.clip(unlearned, -100, 100).T, np.clip(oracles, -100, 100).T, strict=True):
        low, high = min(u.min(), o.min()), max(u.max(), o.max())
        edges = np.linspace(low, high if high > low else low + 1, bins + 1)
        if drop_largest:
            counts = [np.bincount(np.digitize(x, edges), minlength=bins + 2)[1:-1] for x in (o, u)]
        else:
            counts = [np.histogram(x, edges)[0] for x in (o, u)]
        p, q = (count / max(count.sum(), 1) for count in counts)
        found.append(stats.entropy(p, np.where(p > 0, np.maximum(q, 1e-5), q)))
    return np.array(found)


@pytest.mark.parametrize("decimals", [12, 1, 0], ids=["no ties", "ties", "many ties"])
def test_the_released_form_drops_each_points_largest_margin(decimals):
    unlearned, oracles = (x.round(decimals) for x in ensembles())
    expected = by_point(unlearned, oracles, 20, drop_largest=True)

    assert klom(unlearned, oracles, form="released") == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("models", "bins"), [(30, None), (120, None), (30, 12)])
def test_the_corrected_form_counts_like_numpys_histogram(models, bins):
    unlearned, oracles = ensembles(models)
    used = bins or (5 if models < 100 else 20)
    expected = by_point(unlearned, oracles, used, drop_largest=False)

    assert klom(unlearned, oracles, bins=bins) == pytest.approx(expected, abs=1e-12)


def test_the_gaussian_form_is_the_divergence_of_fitted_normal_laws():
    unlearned, oracles = ensembles()
    p, q = (oracles.mean(0), oracles.var(0)), (unlearned.mean(0), unlearned.var(0))
    expected = 0.5 * (np.log(q[1] / p[1]) + (p[1] + (p[0] - q[0]) ** 2) / q[1] - 1)

    assert klom(unlearned, oracles, form="gaussian") == pytest.approx(expected)


def test_the_gaussian_form_of_many_models_is_that_of_the_laws():
    unlearned, oracles = ensembles(20_000, 4, shift=0.8)

    assert klom(unlearned, oracles, form="gaussian") == pytest.approx(0.8**2 / 2, abs=0.04)


@pytest.mark.parametrize(
    ("models", "mean", "high"),
    [
        (20, 2.98, 4.94),
        (50, 0.90, 1.73),
        (100, 0.336, 0.68),
        (200, 0.140, 0.29),
        (1000, 0.024, 0.043),
    ],
)
def test_two_ensembles_of_one_law_have_the_known_null_of_the_released_form(models, mean, high):
    points = 1500 if models < 1000 else 300
    first, second = np.random.default_rng(models).normal(size=(2, models, points))

    found = summary(klom(first, second, form="released"))

    assert found.mean == pytest.approx(mean, rel=0.08)
    assert found.high == pytest.approx(high, rel=0.12)


def test_the_corrected_form_is_much_nearer_to_0_with_few_models():
    first, second = np.random.default_rng(0).normal(size=(2, 20, 1000))

    corrected = klom(first, second).mean()

    assert corrected < 0.25 * klom(first, second, form="released").mean()


@pytest.mark.parametrize("form", ["corrected", "released", "gaussian"])
class TestEveryForm:
    def test_points_beyond_a_block_are_computed_alike(self, form):
        unlearned, oracles = ensembles(10, 1500)

        found = klom(unlearned, oracles, form=form)

        assert found[1400:1401] == pytest.approx(
            klom(unlearned[:, [1400]], oracles[:, [1400]], form=form)
        )
        assert found.shape == (1500,)

    def test_the_order_of_models_and_points_changes_nothing(self, form):
        unlearned, oracles = ensembles()
        rng = np.random.default_rng(1)
        models, points = rng.permutation(30), rng.permutation(40)

        found = klom(unlearned[models][:, points], oracles[models[::-1]][:, points], form=form)

        assert found == pytest.approx(klom(unlearned, oracles, form=form)[points])

    def test_the_same_ensemble_has_no_divergence(self, form):
        unlearned, _ = ensembles()

        assert klom(unlearned, unlearned[::-1], form=form) == pytest.approx(0, abs=1e-12)

    def test_half_precision_is_the_same_numbers_in_double_precision(self, form):
        unlearned, oracles = (x.astype(np.float16) for x in ensembles())

        found = klom(unlearned, oracles, form=form)

        assert found.dtype == np.float64
        assert np.array_equal(
            found, klom(unlearned.astype(float), oracles.astype(float), form=form)
        )

    def test_infinite_margins_are_cut_to_100(self, form):
        unlearned, oracles = ensembles()
        cut = unlearned.copy()
        unlearned[0], cut[0] = np.inf, 100
        unlearned[1], cut[1] = -np.inf, -100

        assert np.array_equal(klom(unlearned, oracles, form=form), klom(cut, oracles, form=form))

    def test_disjoint_ensembles_reach_the_ceiling(self, form):
        unlearned, oracles = ensembles()

        found = klom(unlearned + 90, oracles, form=form)

        assert np.all(found > CEILING - 0.7)  # less by the entropy of the retrained models' bins
        assert found.max() == pytest.approx(CEILING, abs=1e-4)
        assert pytest.approx(11.51, abs=0.01) == CEILING

    def test_a_constant_margin_is_far_from_retraining(self, form):
        unlearned, oracles = ensembles()

        found = klom(np.full_like(unlearned, 0.3), oracles, form=form)

        assert np.all(np.isfinite(found))
        assert found.mean() > 5

    def test_equal_constants_have_no_divergence(self, form):
        constant = np.full((10, 3), 0.3)

        assert klom(constant, constant, form=form).tolist() == [0, 0, 0]

    def test_a_perfect_unlearner_is_inside_its_null(self, form):
        unlearned, oracles = ensembles(shift=0.0)

        found = null(unlearned, oracles, form=form)

        assert klom(unlearned, oracles, form=form).mean() < found.high
        assert 0.05 < found.p_value <= 1
        assert found.mean < found.high

    def test_no_op_like_margins_are_outside_the_null(self, form):
        unlearned, oracles = ensembles(shift=1.0)

        found = null(unlearned, oracles, form=form)

        assert klom(unlearned, oracles, form=form).mean() > found.high
        assert found.p_value == pytest.approx(1 / 201)

    def test_halves_of_the_retrained_models_have_a_larger_null(self, form):
        unlearned, oracles = ensembles(60, shift=0.0)

        found = null(unlearned, oracles, form=form)

        assert found.halves > found.mean

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda u, o: (u[1:], o), r"same N and n; got \(29, 40\) and \(30, 40\)"),
            (lambda u, o: (u[0], o[0]), r"must both be \(N, n\)"),
            (lambda u, o: (u, np.where(o > 1, np.nan, o)), "oracles must hold numbers"),
        ],
    )
    def test_wrong_arguments_are_named(self, form, change, message):
        with pytest.raises(ValueError, match=message):
            klom(*change(*ensembles()), form=form)


def test_the_null_rejects_in_five_per_cent_of_perfect_unlearners():
    """Points share their models' offsets, so that they are far from independent."""
    rng, rejected = np.random.default_rng(4), 0
    for number in range(200):
        both = rng.normal(size=(2, 12, 20)) + rng.normal(size=(2, 12, 1))
        rejected += null(*both, relabellings=99, seed=number).p_value <= 0.05

    assert 0.02 <= rejected / 200 <= 0.08


def test_the_null_is_the_mean_over_relabellings_of_the_same_statistic():
    unlearned, oracles = ensembles(4, 10)
    both, rng = np.concatenate([unlearned, oracles]), np.random.default_rng(7)
    means = []
    for _ in range(50):
        order = np.argsort(rng.random((1, 8)), axis=1)[0] < 4
        means.append(klom(both[order], both[~order]).mean())

    found = null(unlearned, oracles, relabellings=400)

    assert found.mean == pytest.approx(np.mean(means), abs=4 * np.std(means) / np.sqrt(50))


def test_a_point_whose_retrained_models_share_the_largest_margin_has_no_released_value():
    unlearned, oracles = ensembles()
    oracles[:, 3] = 9.0
    unlearned[:, 3] = 1.0

    found = klom(unlearned, oracles, form="released")

    assert np.flatnonzero(np.isnan(found)).tolist() == [3]
    assert summary(found).undefined == 1
    assert summary(found).mean == pytest.approx(np.nanmean(found))
    assert np.isfinite(null(unlearned, oracles, form="released").mean)


def test_the_summary_has_the_quantiles_of_the_points():
    found = summary(np.arange(101.0))

    assert (found.mean, found.low, found.median, found.high) == (50, 5, 50, 95)
    assert found.undefined == 0


@pytest.mark.parametrize("bad", [[], [[1.0]], [np.nan]])
def test_a_summary_needs_values(bad):
    with pytest.raises(ValueError, match="values must be"):
        summary(bad)


def test_unknown_forms_and_useless_bins_are_named():
    with pytest.raises(ValueError, match="'exact'"):
        klom(*ensembles(), form="exact")
    with pytest.raises(ValueError, match="bins must be at least 2"):
        klom(*ensembles(), bins=1)
    with pytest.raises(ValueError, match="'released'"):
        klom(*ensembles(), form="released", bins=5)


def test_a_null_needs_models_to_relabel():
    with pytest.raises(ValueError, match="at least 4 models a side"):
        null(*ensembles(3))
