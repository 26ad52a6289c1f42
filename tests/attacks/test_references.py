import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import trim_mean

from harness.attacks.references import privacy_meter_reference, reference_signal


def made(references=10, samples=150, queries=(), seed=0):
    """Probabilities, and a state whose samples are IN in half of the references."""
    rng = np.random.default_rng(seed)
    state = rng.permuted(np.tile([[0], [1]], (references // 2, samples)), axis=0)
    return rng.beta(4, 2, (references, samples, *queries)), state


class TestOnline:
    def test_is_the_mean_over_all_references(self):
        p, _ = made()

        np.testing.assert_allclose(reference_signal(np.log(p)), np.log(p.mean(0)), atol=1e-13)
        np.testing.assert_allclose(reference_signal(p, space="linear"), p.mean(0))

    @pytest.mark.parametrize("references", [2, 4, 5, 16, 25])
    def test_trimmed_is_scipys_trimmed_mean(self, references):
        p = np.random.default_rng(0).random((references, 150))

        found = reference_signal(np.log(p), trim=0.2)

        np.testing.assert_allclose(np.exp(found), trim_mean(p, 0.2, axis=0), rtol=1e-12)

    def test_of_log_probabilities_far_below_float64_is_their_log_mean_exp(self):
        log_p = np.random.default_rng(0).normal(-2000, 300, (6, 50))

        found = reference_signal(log_p)

        np.testing.assert_allclose(found, logsumexp(log_p, axis=0) - np.log(6), rtol=1e-13)

    def test_takes_probabilities_of_zero_and_one(self):
        log_p = np.array([[0.0, -np.inf, -np.inf], [0, 0, -np.inf]])

        np.testing.assert_allclose(reference_signal(log_p), [0, -np.log(2), -np.inf])

    def test_needs_no_reference_on_either_side(self):
        p, state = made()
        state[:] = 1

        np.testing.assert_allclose(reference_signal(p, state, space="linear"), p.mean(0))


class TestOffline:
    @pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
    def test_corrects_the_mean_over_out_references(self, a):
        p, state = made()
        out = np.array([p[state[:, i] == 0, i].mean() for i in range(150)])

        found = reference_signal(np.log(p), state, mode="offline", a=a)

        np.testing.assert_allclose(np.exp(found), ((1 + a) * out + 1 - a) / 2)

    def test_counts_forgotten_samples_as_in(self):
        p, state = made()
        forgotten = state.copy()
        forgotten[3] *= 2

        found = reference_signal(p, forgotten, mode="offline", space="linear")

        np.testing.assert_array_equal(
            found, reference_signal(p, state, mode="offline", space="linear")
        )

    def test_trims_the_out_references_of_each_sample(self):
        p, state = made()
        state[:, 0] = [0] * 9 + [1]
        out = [trim_mean(p[state[:, i] == 0, i], 0.2) for i in range(150)]

        found = reference_signal(np.log(p), state, mode="offline", trim=0.2, a=1.0)

        np.testing.assert_allclose(np.exp(found), out)

    def test_ignores_what_in_references_say(self):
        p, state = made()
        changed = np.where(state, 1e-300, p)

        found = [reference_signal(np.log(q), state, mode="offline") for q in (p, changed)]

        np.testing.assert_array_equal(*found)

    def test_counts_the_samples_that_are_in_all_references(self):
        p, state = made()
        state[:, [3, 8, 9]] = 1

        with pytest.raises(ValueError, match=r"offline needs an OUT reference.*; 3 of 150 samples"):
            reference_signal(np.log(p), state, mode="offline")


class TestBalanced:
    @pytest.mark.parametrize("space", ["log", "linear"])
    def test_weighs_in_and_out_alike_however_many_they_are(self, space):
        p, state = made()
        state[:, :50] = [[1]] * 9 + [[0]]
        sides = [[p[state[:, i] == s, i].mean() for i in range(150)] for s in (0, 1)]

        found = reference_signal(
            np.log(p) if space == "log" else p, state, mode="balanced", space=space
        )

        np.testing.assert_allclose(np.exp(found) if space == "log" else found, np.mean(sides, 0))

    def test_counts_the_samples_that_are_in_no_reference(self):
        p, state = made()
        state[:, 5] = 0

        with pytest.raises(ValueError, match=r"balanced needs an IN reference.*; 1 of 150 samples"):
            reference_signal(np.log(p), state, mode="balanced")


@pytest.mark.parametrize("mode", ["online", "balanced", "offline"])
class TestEveryMode:
    def test_makes_no_difference_between_orders_of_the_references(self, mode):
        p, state = made()
        order = np.random.default_rng(1).permutation(10)

        found = reference_signal(np.log(p[order]), state[order], mode=mode, trim=0.2)

        np.testing.assert_allclose(
            found, reference_signal(np.log(p), state, mode=mode, trim=0.2), atol=1e-13
        )

    def test_of_queries_is_that_of_each(self, mode):
        p, state = made(queries=(3,))

        together = reference_signal(np.log(p), state, mode=mode, trim=0.2)

        alone = [reference_signal(np.log(p[..., q]), state, mode=mode, trim=0.2) for q in range(3)]
        np.testing.assert_array_equal(together, np.stack(alone, axis=1))

    def test_of_many_samples_is_that_of_parts(self, mode):
        p, state = made(references=4, samples=9000)

        found = reference_signal(np.log(p), state, mode=mode)

        np.testing.assert_array_equal(
            found[4000:4200],
            reference_signal(np.log(p[:, 4000:4200]), state[:, 4000:4200], mode=mode),
        )

    def test_of_a_float16_cache_is_near(self, mode):
        p, state = made()

        found = reference_signal(np.log(p).astype(np.float16), state, mode=mode)

        assert found.dtype == np.float64
        np.testing.assert_allclose(found, reference_signal(np.log(p), state, mode=mode), atol=1e-3)


def test_privacy_meters_is_the_offline_signal_of_samples_that_are_out_in_half():
    p, state = made()

    found = privacy_meter_reference(p, state, a=0.3)

    np.testing.assert_allclose(
        found, reference_signal(p, state, mode="offline", a=0.3, space="linear")
    )


def test_privacy_meters_of_a_population_averages_its_top_half():
    p, state = made()

    found = privacy_meter_reference(p, np.zeros_like(state), a=0.3)

    np.testing.assert_allclose(found, 0.65 * np.sort(p, axis=0)[5:].mean(0) + 0.35)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"state": np.zeros((4, 9)), "mode": "offline"}, r"state must be \(4, 6\).* got \(4, 9\)"),
        ({"mode": "offline"}, r"state must be \(4, 6\).* got none"),
        ({"mode": "onlin"}, "mode must be online, balanced or offline; got 'onlin'"),
        ({"space": "logs"}, "space must be log or linear; got 'logs'"),
        ({"trim": 0.5}, r"trim must be in \[0, 0.5\); got 0.5"),
        ({"state": np.zeros((4, 6)), "mode": "offline", "a": 1.5}, r"a must be in \[0, 1\]; got"),
        ({"signals": np.zeros(6)}, r"signals must be .*\(k, n, q\); got float64 \(6,\)"),
        ({"signals": np.zeros((0, 6))}, "at least one reference; got none"),
        ({"signals": [[0.0, np.nan, np.inf], [0, 0, np.nan]]}, "those of 2 of 3 samples are not"),
        ({"signals": [[0.0, -np.inf]], "space": "linear"}, "finite; those of 1 of 2 samples"),
    ],
)
def test_a_wrong_argument_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        reference_signal(**{"signals": np.zeros((4, 6)), **given})
