"""The forgetting quality against its rules, applied threshold by threshold, and known values."""

import math

import numpy as np
import pytest
import torch

from harness.attacks.forgetting_quality import (
    epsilons,
    final_score,
    null,
    null_of_halves,
    quality,
    score,
)


def ensembles(models=16, examples=6, *, shift=0.0, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    offset = rng.normal(0, 2, examples)
    return (
        rng.normal(size=(models, examples)) * spread + offset + shift,
        rng.normal(size=(models, examples)) + offset,
    )


def epsilon_of(fpr, fnr):
    """ε of one rule; None where it is discarded."""
    if fpr == fnr == 0:
        return math.inf
    if fpr == 0 or fnr == 0:
        return None
    terms = [
        math.log(1 - 1e-5 - a) - math.log(b) for a, b in ((fpr, fnr), (fnr, fpr)) if a < 1 - 1e-5
    ]
    return max(0.0, *terms) if terms else None


def single_rules(unlearned, retrained):
    """FPR and FNR of "at least c", where the larger median is the positive side."""
    positive, negative = unlearned, retrained
    if np.median(retrained) > np.median(unlearned):
        positive, negative = retrained, unlearned
    both = torch.from_numpy(np.concatenate([unlearned, retrained]))
    number = int(torch.ceil((both.max() - both.min()) * 100))
    for c in torch.linspace(both.min(), both.max(), number).double().tolist():
        yield np.mean(negative >= c), np.mean(positive < c)


def interval_rules(unlearned, retrained):
    """FPR and FNR of "between l and r", where the smaller range is the positive side."""
    positive, negative = unlearned, retrained
    if np.ptp(retrained) < np.ptp(unlearned):
        positive, negative = retrained, unlearned
    width = positive.max() - positive.min()
    low, high = positive.min() + width - 2, positive.max() + 2
    for r in np.linspace(low, high, math.ceil((high - low) * 100)):
        left = np.linspace(r - width - 2, r - width + 2, 400)[:, None]
        fpr, tpr = (((left <= side) & (side <= r)).mean(1) for side in (negative, positive))
        yield from zip(fpr.tolist(), (1 - tpr).tolist(), strict=True)


def by_rules(unlearned, retrained):
    ranges = sorted([np.ptp(unlearned), np.ptp(retrained)])
    if ranges[0] / ranges[1] < 0.01:
        return 50.0
    rules = {*single_rules(unlearned, retrained), *interval_rules(unlearned, retrained)}
    found = [epsilon_of(fpr, round(fnr, 9)) for fpr, fnr in rules]
    return min(50.0, max(value for value in found if value is not None))


@pytest.mark.parametrize(
    ("shift", "spread"), [(0.0, 1.0), (1.0, 0.3), (-0.5, 2.0)], ids=["same", "peaky", "wide"]
)
@pytest.mark.parametrize("models", [6, 12, 70])
def test_epsilon_is_the_largest_over_the_released_rules(models, shift, spread):
    unlearned, retrained = ensembles(models, 2, shift=shift, spread=spread)
    expected = [by_rules(*pair) for pair in zip(unlearned.T, retrained.T, strict=True)]

    assert epsilons(unlearned, retrained) == pytest.approx(expected, abs=1e-6)


def test_separated_ensembles_have_the_largest_epsilon():
    unlearned, retrained = ensembles(shift=20.0)

    assert epsilons(unlearned, retrained).tolist() == [50.0] * 6


def test_a_peaky_ensemble_has_the_largest_epsilon_even_inside_the_other():
    unlearned, retrained = ensembles(spread=1e-4)

    assert epsilons(unlearned, retrained).tolist() == [50.0] * 6


def test_constants_that_differ_have_the_largest_epsilon():
    assert epsilons(np.zeros((8, 1)), np.ones((8, 1))).tolist() == [50.0]


def test_the_same_ensemble_has_an_epsilon_of_0():
    unlearned, _ = ensembles()

    assert epsilons(unlearned, unlearned[::-1]) == pytest.approx(0, abs=1e-4)


def test_exchanging_the_ensembles_changes_nothing():
    unlearned, retrained = ensembles(32, shift=0.7)

    assert np.array_equal(epsilons(unlearned, retrained), epsilons(retrained, unlearned))


def test_the_order_of_models_and_examples_is_free():
    unlearned, retrained = ensembles(32, shift=0.7)
    order = np.random.default_rng(1).permutation(6)

    found = epsilons(unlearned[::-1][:, order], retrained[:, order])

    assert np.array_equal(found, epsilons(unlearned, retrained)[order])


def test_half_precision_is_the_same_numbers_in_double_precision():
    unlearned, retrained = (x.astype(np.float16) for x in ensembles(32, shift=0.7))

    found = epsilons(unlearned, retrained)

    assert found.dtype == np.float64
    assert np.array_equal(found, epsilons(unlearned.astype(float), retrained.astype(float)))


@pytest.mark.parametrize(
    ("models", "epsilon", "expected"),
    [
        (512, [0.0], 1.0),
        (512, [0.4999, 0.5], (1 + 0.5) / 2),
        (512, [6.99, 7.0], 2.0**-13 / 2),  # ln 511 = 6.2, so that 7 is the bound
        (32, [3.99, 4.0, 50.0], 2.0**-7 / 3),
    ],
)
def test_the_score_halves_with_every_half_of_epsilon_up_to_its_bound(models, epsilon, expected):
    assert score(epsilon, models) == pytest.approx(expected)


@pytest.mark.parametrize("models", [32, 128, 512])
def test_a_perfect_unlearner_scores_about_a_fifth(models):
    first, second = np.random.default_rng(models).normal(size=(2, models, 60))

    epsilon = epsilons(first, second)

    assert score(epsilon, models) == pytest.approx(0.185, abs=0.04)
    assert np.median(epsilon) == pytest.approx(1.5, abs=0.2)


@pytest.mark.parametrize(("models", "expected"), [(32, 0.065), (128, 0.031), (512, 0.016)])
def test_a_shift_of_one_standard_deviation_scores_less_with_more_models(models, expected):
    first, second = np.random.default_rng(models).normal(size=(2, models, 40))

    assert quality(first + 1, second) == pytest.approx(expected, rel=0.3)


def test_the_final_score_multiplies_with_shares_of_the_retrained_accuracies():
    found = final_score(0.2, retain=90, retrained_retain=100, test=80, retrained_test=85)

    assert found == pytest.approx(0.2 * 0.9 * 80 / 85)


def test_a_retrained_accuracy_of_0_is_refused():
    with pytest.raises(ValueError, match="above 0; got 0 and 1"):
        final_score(0.2, retain=0, retrained_retain=0, test=1, retrained_test=1)


def test_the_null_is_that_of_the_same_law():
    unlearned, retrained = ensembles(32, 20)

    found = null(unlearned, retrained, relabellings=4)

    assert found.mean == pytest.approx(0.175, abs=0.05)
    assert found.low <= found.mean
    assert null_of_halves(retrained) == pytest.approx(0.2, abs=0.08)


def test_a_shifted_ensemble_scores_below_its_null():
    unlearned, retrained = ensembles(32, 12, shift=1.5)

    assert quality(unlearned, retrained) < null(unlearned, retrained).low


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda u, r: (u[1:], r), r"same M and n; got \(15, 6\) and \(16, 6\)"),
        (lambda u, r: (u[0], r[0]), r"must both be \(M, n\)"),
        (lambda u, r: (np.where(u > 1, np.inf, u), r), "unlearned must be finite"),
        (lambda u, r: (u * 0, r * 0), "6 of 6 examples have no decision rule"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        epsilons(*change(*ensembles()))


def test_too_few_models_are_refused():
    with pytest.raises(ValueError, match="models must be at least 3; got 2"):
        score([1.0], 2)
    with pytest.raises(ValueError, match="at least 6 models a side"):
        null(*ensembles(5))
