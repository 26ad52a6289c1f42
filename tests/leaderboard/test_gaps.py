"""Gaps, the noise floor and whether a scenario discriminates, against closed forms."""

import math

import numpy as np
import pytest

from harness.leaderboard.gaps import exceeds_noise, retrain_noise


class TestRetrainNoise:
    def test_of_two_values_is_their_distance_made_smaller(self):
        assert retrain_noise([90.0, 92.0]) == pytest.approx([math.sqrt(3)] * 2)

    def test_of_three_values_is_each_ones_distance_from_the_others_mean(self):
        factor = math.sqrt(8) / 3

        assert retrain_noise([1.0, 2.0, 6.0]) == pytest.approx(
            [3 * factor, 1.5 * factor, 4.5 * factor]
        )

    def test_of_equal_values_is_zero(self):
        assert retrain_noise([0.1, 0.1, 0.1]) == [0, 0, 0]

    def test_is_as_large_as_a_further_models_distance_from_the_mean_of_all(self):
        draws = np.random.default_rng(0).normal(0, 1, (4000, 3))

        noise = np.array([retrain_noise(draw) for draw in draws])

        assert (noise**2).mean() == pytest.approx(4 / 3, rel=0.05)

    def test_needs_two_values(self):
        with pytest.raises(ValueError, match="got 1"):
            retrain_noise([1.0])


class TestExceedsNoise:
    def test_asks_for_more_than_three_standard_errors(self):
        spread = np.array([-1.0, 0.0, 1.0])
        bound = 3 / math.sqrt(3)

        assert exceeds_noise(spread + bound + 0.001)
        assert not exceeds_noise(spread + bound - 0.001)

    def test_is_one_sided(self):
        assert not exceeds_noise([-9.0, -9.1, -9.2])

    def test_needs_three_replicates(self):
        assert not exceeds_noise([10.0, 10.0])
        assert exceeds_noise([10.0, 10.0, 10.0])

    def test_takes_rounding_for_no_difference(self):
        assert not exceeds_noise([1e-14, 1e-14, 1e-14])
