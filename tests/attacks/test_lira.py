"""LiRA against loops over examples, the released rules and synthetic laws."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from harness.attacks.lira import (
    global_threshold,
    offline,
    online,
    released_offline,
    released_online,
)
from harness.protocols.estimates import delong

EVERY = [online, offline, released_online, released_offline]


def halves(models, examples, rng):
    """Every example is IN exactly half of the models."""
    return np.argsort(rng.random((models, examples)), axis=0) < models // 2


def pool(models=8, examples=40, queries=None, *, seed=0, gap=1.0):
    """A target and references whose IN margins are higher; even examples are the target's."""
    rng = np.random.default_rng(seed)
    inside = halves(models, examples, rng)
    shape = (models, examples) if queries is None else (models, examples, queries)
    offset = rng.normal(0, 2, examples).reshape(-1, *[1] * (len(shape) - 2))
    member = (np.arange(examples) % 2 == 0).reshape(offset.shape)
    wide = inside.reshape(*inside.shape, *[1] * (len(shape) - 2))
    references = rng.normal(size=shape) * rng.gamma(4, 0.25, shape[1:]) + offset + gap * wide
    return rng.normal(size=shape[1:]) + offset + gap * member, references, inside


def sides(references, inside, example):
    """One example's margins in the models that have it and in those that have not."""
    return references[inside[:, example], example], references[~inside[:, example], example]


def within(references, mask):
    """The unbiased variance within examples, as in an analysis of variance."""
    groups = [references[mask[:, example], example] for example in range(mask.shape[1])]
    return sum(((g - g.mean()) ** 2).sum() for g in groups) / sum(len(g) - 1 for g in groups)


def law_of(values, name, pooled, centre):
    k, middle, biased = len(values), getattr(np, centre)(values), np.var(values)
    if name == "example":
        return stats.norm(middle, np.sqrt(biased))
    if name == "pooled":
        return stats.norm(middle, np.sqrt(pooled))
    shape = 2 + k / 2
    return stats.t(2 * shape, middle, np.sqrt((2 * pooled + k * biased / 2) / shape * (1 + 1 / k)))


@pytest.mark.parametrize("centre", ["mean", "median"])
@pytest.mark.parametrize("law", ["student", "example", "pooled"])
class TestLaws:
    def test_online_is_a_ratio_of_scipys_densities(self, law, centre):
        target, references, inside = pool()
        pooled = within(references, inside), within(references, ~inside)
        expected = []
        for example, phi in enumerate(target):
            laws = zip(sides(references, inside, example), pooled, strict=True)
            member, other = (law_of(side, law, s2, centre).logpdf(phi) for side, s2 in laws)
            expected.append(member - other)

        assert online(target, references, inside, law=law, centre=centre) == pytest.approx(expected)

    def test_offline_is_scipys_distribution_function(self, law, centre):
        target, references, inside = pool()
        pooled = within(references, ~inside)
        expected = [
            np.log(law_of(sides(references, inside, i)[1], law, pooled, centre).cdf(phi))
            for i, phi in enumerate(target)
        ]

        assert offline(target, references, inside, law=law, centre=centre) == pytest.approx(
            expected
        )

    def test_unequal_numbers_of_models_on_the_sides_are_counted(self, law, centre):
        target, references, inside = pool(models=9)
        inside[0] = np.arange(inside.shape[1]) % 3 == 0
        member, other = (
            law_of(side, law, s2, centre).logpdf(target[5])
            for side, s2 in zip(
                sides(references, inside, 5),
                (within(references, inside), within(references, ~inside)),
                strict=True,
            )
        )

        found = online(target, references, inside, law=law, centre=centre)

        assert found[5] == pytest.approx(member - other)


@pytest.mark.parametrize("attack", [online, offline])
def test_scores_of_several_queries_are_averaged(attack):
    target, references, inside = pool(queries=3)
    alone = [attack(target[:, q], references[:, :, q], inside) for q in range(3)]

    assert attack(target, references, inside) == pytest.approx(np.mean(alone, axis=0))


class TestReleased:
    """The rules of the published script, once more, example by example."""

    def parts(self, references, inside):
        have = [references[inside[:, j], j] for j in range(inside.shape[1])]
        lack = [references[~inside[:, j], j] for j in range(inside.shape[1])]
        have_size, lack_size = min(map(len, have)), min(map(len, lack))
        return np.array([x[:have_size] for x in have]), np.array([x[:lack_size] for x in lack])

    @pytest.mark.parametrize("models", [8, 9])
    @pytest.mark.parametrize("fixed", [False, True])
    def test_online_is_the_mean_over_queries_of_its_log_ratio(self, models, fixed):
        target, references, inside = pool(models, queries=2)
        inside[-1] = np.arange(inside.shape[1]) % 4 == 0
        have, lack = self.parts(references, inside)
        spreads = [have.std(), have.std()] if fixed else [have.std(1), lack.std(1)]
        expected = (
            stats.norm.logpdf(target, np.median(have, 1), spreads[0] + 1e-30)
            - stats.norm.logpdf(target, np.median(lack, 1), spreads[1] + 1e-30)
        ).mean(1)

        found = released_online(target, references, inside, fix_variance=fixed)

        assert found == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("fixed", [False, True])
    def test_offline_is_minus_its_log_density(self, fixed):
        target, references, inside = pool(9, queries=2)
        _, lack = self.parts(references, inside)
        spread = (lack.std() if fixed else lack.std(1)) + 1e-30
        expected = -stats.norm.logpdf(target, np.median(lack, 1), spread).mean(1)

        found = released_offline(target, references, inside, fix_variance=fixed)

        assert found == pytest.approx(expected, abs=1e-9)

    def test_one_query_needs_no_axis(self):
        target, references, inside = pool(queries=1)

        assert released_online(target[:, 0], references[:, :, 0], inside) == pytest.approx(
            released_online(target, references, inside)
        )

    def test_the_global_threshold_is_the_mean_margin(self):
        assert global_threshold([[1.0, 3.0], [5.0, 6.0]]).tolist() == [2.0, 5.5]


@pytest.mark.parametrize("attack", EVERY)
class TestInvariances:
    def test_a_shift_of_all_margins_changes_nothing(self, attack):
        target, references, inside = pool()

        assert attack(target + 7, references + 7, inside) == pytest.approx(
            attack(target, references, inside)
        )

    def test_the_order_of_the_models_changes_nothing(self, attack):
        target, references, inside = pool()
        order = np.random.default_rng(1).permutation(len(inside))

        assert attack(target, references[order], inside[order]) == pytest.approx(
            attack(target, references, inside)
        )

    def test_the_order_of_the_examples_is_that_of_the_scores(self, attack):
        target, references, inside = pool()
        order = np.random.default_rng(1).permutation(len(target))

        assert attack(target[order], references[:, order], inside[:, order]) == pytest.approx(
            attack(target, references, inside)[order]
        )

    def test_half_precision_is_the_same_numbers_in_double_precision(self, attack):
        target, references, inside = pool()
        half = target.astype(np.float16), references.astype(np.float16)

        found = attack(*half, inside)

        assert found.dtype == np.float64
        assert np.array_equal(found, attack(*(x.astype(np.float64) for x in half), inside))

    def test_references_that_agree_give_finite_scores(self, attack):
        target, references, inside = pool()
        references[:] = references[0]

        assert np.all(np.isfinite(attack(target, references, inside)))

    def test_margins_that_are_not_finite_are_counted(self, attack):
        target, references, inside = pool()
        references[0, :3] = np.inf, -np.inf, np.nan

        with pytest.raises(ValueError, match="references must be finite; 3 of 320"):
            attack(target, references, inside)

    def test_examples_out_of_no_model_are_counted(self, attack):
        target, references, inside = pool()
        inside[:, :2] = True

        with pytest.raises(ValueError, match="OUT in at least 1 of the 8 references; 2 of 40"):
            attack(target, references, inside)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t, r, i: (t[:5], r, i), r"references must be \(K, 5\)"),
            (lambda t, r, i: (t, r, i[:, :5]), r"inside must be bool of shape \(8, 40\)"),
            (lambda t, r, i: (t, r, i.astype(int)), "inside must be bool"),
            (lambda t, r, i: (t[None, None], r, i), "target must have 1 or 2 axes"),
            (lambda t, r, i: (t[:0], r[:, :0], i[:, :0]), "no empty one"),
        ],
    )
    def test_wrong_shapes_are_named(self, attack, change, message):
        with pytest.raises(ValueError, match=message):
            attack(*change(*pool()))


@pytest.mark.parametrize("attack", [online, released_online])
def test_online_counts_examples_in_no_model(attack):
    target, references, inside = pool()
    inside[:, :3] = False

    with pytest.raises(ValueError, match="IN in at least 1 of the 8 references; 3 of 40"):
        attack(target, references, inside)


def test_offline_needs_no_model_that_has_the_example():
    target, references, inside = pool()
    inside[:] = False

    assert offline(target, references, inside, law="pooled").shape == target.shape


def test_the_law_of_each_example_needs_two_models_a_side():
    target, references, inside = pool(models=4)
    inside[:, 0] = [True, False, False, False]

    with pytest.raises(ValueError, match="IN in at least 2 of the 4 references; 1 of 40"):
        online(target, references, inside, law="example")
    assert np.all(np.isfinite(online(target, references, inside)))


def test_an_unknown_centre_is_named():
    with pytest.raises(ValueError, match="'mode'"):
        online(*pool(), centre="mode")


def test_students_law_is_used_below_64_models_and_each_examples_own_from_there_on():
    few, many = pool(models=62), pool(models=64)

    assert np.array_equal(online(*few), online(*few, law="student"))
    assert np.array_equal(offline(*many), offline(*many, law="example"))


def test_the_one_sided_test_beats_the_released_density():
    """Section 1.5 of the specification: 0.816 against 0.678."""
    target, references, inside = pool(64, 4000, gap=1.5)
    member = np.arange(4000) % 2 == 0

    one_sided = roc_auc_score(member, offline(target, references, inside))
    two_sided = roc_auc_score(member, released_offline(target, references, inside))

    assert one_sided > two_sided + 0.05


@pytest.mark.parametrize("models", [4, 8, 16, 64])
def test_students_law_is_never_worse_than_both_published_variants(models):
    """Memorisation and spread differ between examples, as on real data."""
    rng, examples = np.random.default_rng(models), 20_000
    spread = np.exp(rng.normal(0, 0.4, examples))
    offset, gap = rng.normal(2, 2, examples), rng.exponential(1.0, examples)
    inside, member = halves(models, examples, rng), rng.random(examples) < 0.5
    references = rng.normal(size=inside.shape) * spread + offset + gap * inside
    target = rng.normal(size=examples) * spread + offset + gap * member

    auc = {
        law: roc_auc_score(member, online(target, references, inside, law=law))
        for law in ("student", "example", "pooled")
    }

    assert auc["student"] > max(auc["example"], auc["pooled"]) - 0.002, auc
    assert auc["student"] > roc_auc_score(member, target) + 0.05


@pytest.mark.parametrize("models", [4, 16])
def test_offline_with_one_variance_has_the_auc_of_its_closed_form(models):
    """Φ(d / √(2 (1 + 2/K))): the margin less the mean of the K/2 OUT models."""
    rng, examples, d = np.random.default_rng(0), 40_000, 1.0
    inside, member = halves(models, examples, rng), rng.random(examples) < 0.5
    offset = rng.normal(0, 3, examples)
    references = rng.normal(size=inside.shape) + offset + d * inside
    target = rng.normal(size=examples) + offset + d * member

    assert roc_auc_score(member, offline(target, references, inside, law="pooled")) == (
        pytest.approx(stats.norm.cdf(d / np.sqrt(2 * (1 + 2 / models))), abs=0.008)
    )


@pytest.mark.parametrize("attack", [online, offline])
@pytest.mark.parametrize("law", ["student", "example", "pooled"])
def test_the_interval_of_perfect_unlearners_covers_one_half(attack, law):
    rng, found = np.random.default_rng(3), []
    for _ in range(200):
        inside = halves(8, 400, rng)
        references = rng.normal(size=inside.shape) + 0.8 * inside
        scores = attack(rng.normal(size=400), references, inside, law=law)
        found.append(delong(scores[:200], scores[200:]))

    assert 0.92 <= np.mean([auc.low <= 50 <= auc.high for auc in found]) <= 0.98
    assert stats.ttest_1samp([auc.value for auc in found], 50).pvalue > 0.01
