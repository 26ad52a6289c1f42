import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit, softmax
from torch.nn import functional as F

from harness.attacks.signals import (
    log_probability,
    logit_scaling,
    probability,
    released_logit_scaling,
    taylor,
    taylor_soft_margin,
)

EVERY = [log_probability, logit_scaling, probability, released_logit_scaling]
WITH_TAYLOR = [*EVERY, taylor, taylor_soft_margin]


def made(*, models=(), samples=300, classes=7, scale=3.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, scale, (*models, samples, classes)), rng.integers(0, classes, samples)


def series(values, terms):
    """The released loop over powers, which divides each by its factorial."""
    power, total = torch.ones_like(values), torch.ones_like(values)
    for i in range(1, terms):
        power = power * values / i
        total = total + power
    return total


class TestLogProbability:
    @pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
    def test_is_torchs_log_softmax_of_the_own_label(self, temperature):
        logits, labels = made()

        found = log_probability(logits, labels, temperature=temperature)

        loss = F.cross_entropy(
            torch.from_numpy(logits) / temperature, torch.from_numpy(labels), reduction="none"
        )
        np.testing.assert_allclose(found, -loss.numpy(), rtol=1e-12, atol=1e-13)

    def test_takes_the_margin_off_the_own_logit_alone(self):
        logits, labels = made()
        moved = logits / 2
        moved[np.arange(300), labels] -= 0.6

        found = probability(logits, labels, temperature=2.0, margin=0.6)

        np.testing.assert_allclose(found, softmax(moved, axis=1)[np.arange(300), labels])

    def test_keeps_the_order_of_probabilities_that_round_to_one_or_zero(self):
        logits = np.zeros((4, 3))
        logits[:, 0] = [900, 800, -800, -900]

        found = log_probability(logits, np.zeros(4, dtype=int))

        assert found[0] == found[1] == 0  # e^-800 is below float64
        assert found[2] == pytest.approx(-800 - np.log(2))
        assert found[3] == pytest.approx(-900 - np.log(2))
        assert [*probability(logits, np.zeros(4, dtype=int))] == [1, 1, 0, 0]

    def test_tells_apart_probabilities_that_float64_rounds_to_one(self):
        logits = np.array([[60.0, 0], [50, 0], [45, 0]])

        found = log_probability(logits, np.zeros(3, dtype=int))

        np.testing.assert_allclose(found, -np.exp([-60.0, -50, -45]))


class TestLogitScaling:
    def test_is_the_logit_of_the_probability(self):
        logits, labels = made()

        found = logit_scaling(logits, labels)

        np.testing.assert_allclose(expit(found), probability(logits, labels), rtol=1e-12)
        np.testing.assert_allclose(log_expit(found), log_probability(logits, labels), atol=1e-12)

    def test_is_finite_where_all_probabilities_are_zero_or_one(self):
        logits, labels = np.array([[1e4, 0, 0], [-1e4, 0, 0]]), np.zeros(2, dtype=int)

        np.testing.assert_allclose(
            logit_scaling(logits, labels), [1e4 - np.log(2), -1e4 - np.log(2)]
        )

    def test_is_infinite_where_a_difference_of_logits_exceeds_float64(self):
        logits, labels = np.array([[1e308, -1e308], [-1e308, 1e308]]), np.zeros(2, dtype=int)

        assert [*logit_scaling(logits, labels)] == [np.inf, -np.inf]
        assert [*log_probability(logits, labels)] == [0, -np.inf]

    def test_is_the_released_form_where_1e_45_makes_no_difference(self):
        logits, labels = made()

        np.testing.assert_allclose(
            released_logit_scaling(logits, labels), logit_scaling(logits, labels), atol=1e-11
        )

    def test_the_released_form_is_bounded_by_the_logarithm_of_1e_45(self):
        logits, labels = np.array([[900.0, 0, 0], [0, 900, 0]]), np.zeros(2, dtype=int)

        bound = -np.log(1e-45)
        np.testing.assert_allclose(released_logit_scaling(logits, labels), [bound, -bound])


class TestTaylor:
    @pytest.mark.parametrize("terms", [2, 4, 5])
    def test_is_the_released_softmax_of_a_series(self, terms):
        logits, labels = made(scale=4.0)
        values = series(torch.from_numpy(logits), terms)
        own = values.gather(1, torch.from_numpy(labels)[:, None])[:, 0]

        found = taylor(logits, labels, terms=terms)

        np.testing.assert_allclose(found, own / values.sum(1), rtol=1e-9)

    def test_the_soft_margin_is_taken_off_the_own_logit_after_the_temperature(self):
        logits, labels = made(scale=4.0)
        at = torch.from_numpy(labels)[:, None]
        scaled = torch.from_numpy(logits) / 2
        values, own = series(scaled, 4), series(scaled.gather(1, at) - 0.6, 4)[:, 0]
        others = values.sum(1) - values.gather(1, at)[:, 0]

        found = taylor_soft_margin(logits, labels)

        np.testing.assert_allclose(found, own / (others + own), rtol=1e-8)

    def test_a_cubic_leaves_the_unit_interval_as_often_as_in_the_released_code(self):
        logits, labels = made(samples=20_000, classes=10, scale=4.0)

        found = taylor(logits, labels)

        assert (found < 0).mean() > 0.02
        assert (found > 1).mean() > 0.005

    def test_says_how_many_samples_overflow(self):
        logits, labels = made(samples=5)
        logits[1:3] = 1e200

        with pytest.raises(ValueError, match=r"^2 of 5 samples have no Taylor signal"):
            taylor(logits, labels)

    def test_refuses_a_series_of_one_term(self):
        with pytest.raises(ValueError, match="terms must be at least 2; got 1"):
            taylor(*made(), terms=1)


@pytest.mark.parametrize("signal", WITH_TAYLOR)
class TestEverySignal:
    def test_of_several_models_is_that_of_each(self, signal):
        logits, labels = made(models=(3,))

        together = signal(logits, labels)

        np.testing.assert_array_equal(together, [signal(model, labels) for model in logits])

    def test_follows_samples_and_classes_when_they_are_permuted(self, signal):
        logits, labels = made()
        samples, classes = (
            np.random.default_rng(1).permutation(300),
            np.array([3, 0, 6, 1, 5, 2, 4]),
        )

        found = signal(logits[samples][:, classes], np.argsort(classes)[labels[samples]])

        np.testing.assert_allclose(found, signal(logits, labels)[samples], rtol=1e-9)

    def test_of_many_samples_is_that_of_parts(self, signal):
        logits, labels = made(samples=70_000)

        found = signal(logits, labels)

        np.testing.assert_array_equal(found[65_000:], signal(logits[65_000:], labels[65_000:]))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_refuses_logits_that_are_not_finite_and_counts_the_samples(self, signal, value):
        logits, labels = made(models=(2,), samples=50)
        logits[0, 3, 1] = logits[1, 3, 2] = logits[1, 7, 0] = value

        with pytest.raises(ValueError, match="those of 2 of 50 samples are not"):
            signal(logits, labels)

    @pytest.mark.parametrize("kind", [np.float16, np.float32])
    def test_of_narrow_logits_is_computed_in_float64(self, signal, kind):
        logits, labels = made()
        narrow = logits.astype(kind)

        found = signal(narrow, labels)

        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, signal(narrow.astype(np.float64), labels))

    def test_of_no_samples_is_empty(self, signal):
        assert signal(np.zeros((0, 3)), np.zeros(0, dtype=int)).shape == (0,)


@pytest.mark.parametrize("signal", EVERY)
def test_a_constant_added_to_all_logits_of_a_sample_changes_nothing(signal):
    logits, labels = made()
    constants = np.random.default_rng(1).normal(0, 50, (300, 1))

    np.testing.assert_allclose(
        signal(logits + constants, labels), signal(logits, labels), atol=1e-11
    )


def test_the_input_is_left_as_it_is():
    logits, labels = made()
    before = logits.copy()

    for signal in WITH_TAYLOR:
        signal(logits, labels)

    np.testing.assert_array_equal(logits, before)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros(3), [0], r"logits must be \(n, c\) or \(k, n, c\).* got \(3,\)"),
        (np.zeros((3, 1)), [0, 0, 0], r"at least two classes; got \(3, 1\)"),
        (np.zeros((3, 2), dtype=int), [0, 0, 0], "floating-point numbers; got int64"),
        (np.zeros((3, 2)), [0, 0], r"labels must be \(3,\), one a sample; got \(2,\)"),
        (np.zeros((3, 2)), [0.0, 0, 0], "labels must be integers; got float64"),
        (np.zeros((3, 2)), [0, 2, -1], r"labels must be in \[0, 2\); 2 of 3 are not"),
    ],
)
def test_an_argument_of_another_shape_or_kind_is_refused(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        log_probability(logits, np.array(labels))


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be a positive number"):
        log_probability(*made(), temperature=temperature)
