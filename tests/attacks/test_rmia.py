import tracemalloc

import numpy as np
import pytest
from scipy.stats import norm, trim_mean
from sklearn.metrics import roc_auc_score

from harness.attacks.references import privacy_meter_reference, reference_signal
from harness.attacks.rmia import amun, count, log_ratio, vote
from harness.attacks.signals import log_probability, taylor_soft_margin
from harness.protocols.estimates import delong

SMALL = 1e-4
"""Scales log-signals so that the logarithm of a mean of exponentials is a mean: closed forms."""


def compared(ratios, population, gamma, *, extra=0):
    """The published count in linear space: a loop over samples and the population's others."""
    scores = []
    for i, ratio in enumerate(ratios):
        others = [z for j, z in enumerate(ratios) if population[j] and j != i]
        with np.errstate(divide="ignore", invalid="ignore"):
            wins = sum(np.float64(ratio) / z > gamma for z in others)
        scores.append((wins + (extra if population[i] else 0)) / len(others))
    return np.array(scores)


def ratios_of(samples=150, seed=0, *, signed=False):
    rng = np.random.default_rng(seed)
    values = rng.normal(0.5, 1, samples) if signed else np.exp(rng.normal(0, 1, samples))
    return values, rng.random(samples) < 0.4


def gaussian(d, references, n, *, shift_in, shift_out=0.0, members_in=0.5, target=0.0, seed=0):
    """Log-signals of target and references where a trained-on sample's has another mean."""
    rng = np.random.default_rng(seed)
    inside = np.arange(references)[:, None] < references * members_in
    pool = rng.normal(np.where(inside, shift_in, shift_out), 1, (references, n))
    return SMALL * rng.normal(target * d, 1, n), SMALL * pool


def auc_of(members, nonmembers):
    scores = [log_ratio(target, reference_signal(pool)) for target, pool in (members, nonmembers)]
    return roc_auc_score(np.repeat([1, 0], [len(s) for s in scores]), np.concatenate(scores))


class TestLogRatio:
    def test_is_the_difference_of_logs_and_the_mean_over_queries(self):
        rng = np.random.default_rng(0)
        target, reference = rng.normal(-1, 1, (2, 40, 3))

        np.testing.assert_array_equal(
            log_ratio(target[:, 0], reference[:, 0]), target[:, 0] - reference[:, 0]
        )
        np.testing.assert_allclose(log_ratio(target, reference), (target - reference).mean(1))

    def test_of_probabilities_of_zero_is_signed_infinity_or_no_evidence(self):
        zero = -np.inf

        assert [*log_ratio([zero, -1, zero], [-1, zero, zero])] == [-np.inf, np.inf, 0]

    @pytest.mark.parametrize("references", [4, 16])
    def test_has_the_auc_of_the_closed_form(self, references):
        """Φ(d / √(2(1 + 1/K))): the reference adds a K-th of the noise."""
        members = gaussian(1, references, 40_000, shift_in=1, target=1, seed=1)
        others = gaussian(1, references, 40_000, shift_in=1, seed=2)

        expected = norm.cdf(1 / np.sqrt(2 * (1 + 1 / references)))
        assert auc_of(members, others) == pytest.approx(expected, abs=0.005)

    def test_has_the_auc_of_the_closed_form_with_out_references_alone(self):
        n, references = 40_000, 8
        state = np.tile([[0], [1]], (references // 2, n))
        scores = []
        for target, seed in ((1, 1), (0, 2)):
            own, pool = gaussian(1, references, n, shift_in=0, target=target, seed=seed)
            pool += SMALL * state
            reference = reference_signal(pool, state, mode="offline", a=1.0)
            scores.append(log_ratio(own, reference))

        found = roc_auc_score(np.repeat([1, 0], n), np.concatenate(scores))

        assert found == pytest.approx(norm.cdf(1 / np.sqrt(2 * (1 + 2 / references))), abs=0.005)

    def test_of_a_perfect_unlearner_is_half_only_if_the_pool_has_the_test_set(self):
        """References that never saw test samples make retrained models look over-forgetting."""
        forget = gaussian(1, 16, 40_000, shift_in=1, seed=1)
        in_pool = gaussian(1, 16, 40_000, shift_in=1, seed=2)
        not_in_pool = gaussian(1, 16, 40_000, shift_in=0, seed=2)

        assert auc_of(forget, not_in_pool) == pytest.approx(0.366, abs=0.005)
        assert auc_of(forget, in_pool) == pytest.approx(0.5, abs=0.005)

    def test_of_nulls_is_covered_by_delongs_interval(self):
        covered = 0
        for seed in range(200):
            own, pool = gaussian(0, 4, 400, shift_in=1, seed=seed)
            scores = log_ratio(1e4 * own, reference_signal(1e4 * pool))
            estimate = delong(scores[:150], scores[150:])
            covered += estimate.low <= 50 <= estimate.high

        assert 184 <= covered <= 196

    def test_hardly_differs_on_a_float16_cache(self):
        target, pool, labels, member = networks()
        exact, narrow = (
            log_ratio(
                log_probability(target.astype(kind), labels),
                reference_signal(log_probability(pool.astype(kind), labels)),
            )
            for kind in (np.float64, np.float16)
        )

        found = roc_auc_score(member, exact)

        assert found > 0.6
        assert roc_auc_score(member, narrow) == pytest.approx(found, abs=1e-3)

    @pytest.mark.parametrize(
        ("target", "reference", "message"),
        [
            ([0.0], [0.0, 1.0], r"both be \(n,\) or \(n, q\); got \(1,\) and \(2,\)"),
            ([0.0, np.nan], [0.0, 1.0], "log-ratios must be numbers; those of 1 of 2 are not"),
        ],
    )
    def test_refuses_arguments_that_do_not_match(self, target, reference, message):
        with pytest.raises(ValueError, match=message):
            log_ratio(target, reference)


def networks(samples=4000, references=8, classes=10, seed=0):
    """Logits of a target and references that fit their own training samples better."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, samples)
    hardness = rng.normal(2, 2, samples)
    state = rng.permuted(np.tile([[0], [1]], (references // 2 + 1, samples)), axis=0)
    logits = rng.normal(0, 1, (references + 2, samples, classes))
    logits[:, np.arange(samples), labels] += hardness + 1.0 * state
    return logits[0], logits[2:], labels, state[0] == 1


class TestCount:
    @pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
    @pytest.mark.parametrize("seed", range(3))
    def test_is_the_published_loop_over_the_population(self, gamma, seed):
        ratios, population = ratios_of(seed=seed)

        found = count(np.log(ratios), population, gamma=gamma)

        np.testing.assert_allclose(found, compared(ratios, population, gamma), atol=1e-12)
        assert population.any()
        assert not population.all()

    @pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
    @pytest.mark.parametrize("seed", range(3))
    def test_of_signed_ratios_is_the_loop_where_a_sorted_search_alone_is_not(self, gamma, seed):
        ratios, population = ratios_of(seed=seed, signed=True)

        found = count(ratios, population, gamma=gamma, space="linear")

        plain = np.sort(ratios[population]).searchsorted(ratios / gamma) / population.sum()
        np.testing.assert_allclose(found, compared(ratios, population, gamma), atol=1e-12)
        assert abs(found - plain).max() > 0.1

    def test_of_zero_and_infinite_ratios_is_what_division_makes_of_them(self):
        ratios = np.array([0.0, -0.0, 1.0, -1.0, 3.0, -3.0, np.inf, -np.inf])
        population = np.ones(8, dtype=bool)

        found = count(ratios, population, space="linear")

        np.testing.assert_allclose(found, compared(ratios, population, 2.0))

    def test_of_a_probability_of_zero_is_none_and_of_infinite_ratios_all_others(self):
        population = np.array([False, False, True, True, True])

        found = count([-np.inf, np.inf, -1.0, 0.0, 1.0], population)

        np.testing.assert_allclose(found, [0, 1, 0, 0.5, 1])

    def test_does_not_count_ties(self):
        ratios = np.array([1.0, 2.0, 2.0, 4.0])

        assert [*count(ratios, np.ones(4, dtype=bool), space="linear")] == [
            0,
            0,
            0,
            1 / 3 + 1 / 3 - 1 / 3,
        ]

    def test_as_released_gives_samples_of_the_population_one_more(self):
        ratios, population = ratios_of()

        found = count(np.log(ratios), population, own_sample="released")

        np.testing.assert_allclose(found, compared(ratios, population, 2.0, extra=1))

    def test_has_the_auc_of_the_log_ratio_up_to_ties(self):
        target, pool, labels, member = networks()
        ratios = log_ratio(
            log_probability(target, labels), reference_signal(log_probability(pool, labels))
        )

        found = count(ratios, np.ones(len(ratios), dtype=bool))

        assert roc_auc_score(member, found) == pytest.approx(
            roc_auc_score(member, ratios), abs=1e-3
        )

    def test_of_cifars_size_is_that_of_single_comparisons(self):
        ratios = np.random.default_rng(0).normal(0, 1, 60_000)

        found = count(ratios, np.ones(60_000, dtype=bool))

        for i in range(0, 60_000, 7000):
            expected = np.count_nonzero(ratios[i] - ratios > np.log(2)) / 59_999
            assert found[i] == pytest.approx(expected)

    def test_follows_samples_when_they_are_permuted(self):
        ratios, population = ratios_of()
        order = np.random.default_rng(1).permutation(150)

        np.testing.assert_array_equal(
            count(ratios[order], population[order]), count(ratios, population)[order]
        )


class TestVote:
    @pytest.mark.parametrize("space", ["log", "linear"])
    @pytest.mark.parametrize("queries", [1, 2, 5])
    @pytest.mark.parametrize("gamma", [0.5, 2.0])
    def test_counts_the_others_that_lose_more_than_half_of_the_queries(self, space, queries, gamma):
        rng = np.random.default_rng(0)
        linear = np.exp(rng.normal(0, 1, (300, queries)))
        if space == "linear":
            linear -= 0.5
        population = rng.random(300) < 0.4
        wins = np.sum(linear[:, None] / linear[None] > gamma, axis=2) * 2 > queries
        np.fill_diagonal(wins, val=False)

        found = vote(
            np.log(linear) if space == "log" else linear, population, gamma=gamma, space=space
        )

        size = population.sum() - population
        np.testing.assert_allclose(found, wins[:, population].sum(1) / size)

    def test_of_one_query_is_the_count(self):
        ratios, population = ratios_of(signed=True)
        given = {"gamma": 1.5, "space": "linear", "own_sample": "released"}

        np.testing.assert_allclose(
            vote(ratios[:, None], population, **given), count(ratios, population, **given)
        )


class TestParity:
    def test_amun_is_its_released_evaluation(self):
        """The loop over all samples, as written: signed signals, all references, gamma 2."""
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 10, 80)
        target, references = rng.normal(0, 4, (80, 10)), rng.normal(0, 4, (6, 80, 10))

        found = amun(target, references, labels)

        own = taylor_soft_margin(target, labels)
        prior = taylor_soft_margin(references, labels).mean(0)
        assert (own / prior < 0).any()
        np.testing.assert_allclose(found, compared(own / prior, np.ones(80, dtype=bool), 2.0))

    def test_the_papers_code_is_a_vote_of_trimmed_means_with_a_count_of_one_too_many(self):
        rng = np.random.default_rng(0)
        target, pool = rng.beta(4, 2, (60, 3)), rng.beta(4, 2, (10, 60, 3))
        population = rng.random(60) < 0.5
        ratios = target / trim_mean(pool, 0.2, axis=0)
        wins = np.sum(ratios[:, None] / ratios[None] > 2, axis=2) >= 2
        released = wins[:, population].mean(1)
        size = population.sum()
        released[population] = (released[population] * size + 1) / (size - 1)

        reference = reference_signal(pool, trim=0.2, space="linear")
        found = vote(target / reference, population, space="linear", own_sample="released")

        np.testing.assert_allclose(found, released)

    def test_privacy_meter_compares_with_a_population_of_its_own(self):
        rng = np.random.default_rng(0)
        target, pool = rng.beta(4, 2, 60), rng.beta(4, 2, (8, 60))
        state = rng.permuted(np.tile([[0], [1]], (4, 60)), axis=0)
        state[:, 40:] = 0
        out = np.array([pool[state[:, i] == 0, i].mean() for i in range(40)])
        x = target[:40] / (0.65 * out + 0.35)
        z = target[40:] / (0.65 * np.sort(pool[:, 40:], axis=0)[4:].mean(0) + 0.35)

        ratios = target / privacy_meter_reference(pool, state, a=0.3)
        found = count(ratios, np.arange(60) >= 40, gamma=1.0, space="linear")

        np.testing.assert_allclose(found[:40], np.mean(x[:, None] / z > 1, axis=1))


@pytest.mark.parametrize(
    ("attack", "ratios", "population", "given", "message"),
    [
        (
            count,
            np.zeros(3),
            np.ones(3),
            {},
            r"be a \(3,\) mask of bool; got float",
        ),
        (count, np.zeros(3), np.array([True]), {}, r"a \(3,\) mask of bool; got bool \(1,\)"),
        (count, np.zeros(3), np.arange(3) < 1, {}, "population must have two samples; got 1"),
        (count, np.zeros(3), np.arange(3) < 2, {"gamma": 0}, "gamma must be a positive number"),
        (count, np.zeros(3), np.arange(3) < 2, {"space": "lin"}, "space must be log or linear"),
        (
            count,
            np.zeros(3),
            np.arange(3) < 2,
            {"own_sample": ""},
            "own_sample must be excl",
        ),
        (count, np.zeros((3, 2)), np.arange(3) < 2, {}, r"ratios must be \(n,\), for queries see"),
        (vote, np.zeros(3), np.arange(3) < 2, {}, r"ratios must be \(n, q\), for one query see"),
        (vote, [[0.0], [np.nan], [0.0]], np.arange(3) < 2, {}, "those of 1 of 3 are not"),
    ],
)
def test_a_wrong_argument_is_named(attack, ratios, population, given, message):
    with pytest.raises(ValueError, match=message):
        attack(ratios, population, **given)


def test_memory_is_linear_in_samples_and_references_whatever_the_number_of_classes():
    logits = np.zeros((8, 20_000, 100), dtype=np.float16)
    labels = np.zeros(20_000, dtype=int)

    tracemalloc.start()
    log_ratio(log_probability(logits[0], labels), reference_signal(log_probability(logits, labels)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 12 * 2**20  # float64 logits of all references take 122 MB
