"""Intervals of any level from a metric's values, against scipy."""

import math

import pytest
from scipy import stats

from harness.leaderboard.readings import Readings

VALUES = {(i, i): value for i, value in enumerate([49.0, 52.5, 50.5, 51.0])}


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_half_width_over_replicates_is_that_of_the_t_interval(confidence):
    reference = stats.ttest_1samp([*VALUES.values()], 0).confidence_interval(confidence)

    found = Readings(VALUES)

    assert found.mean == pytest.approx(50.75)
    assert found.half_width(confidence) == pytest.approx((reference.high - reference.low) / 2)


def test_a_single_run_has_its_own_interval_over_the_images():
    found = Readings({(0, 0): 51.0}, own={(0, 0): 1.96})

    assert found.half_width() == pytest.approx(1.96)
    ratio = stats.norm.ppf(0.95) / stats.norm.ppf(0.975)
    assert found.half_width(0.9) == pytest.approx(1.96 * ratio)
    assert Readings({(0, 0): 51.0}).half_width() is None


def test_replicates_that_share_a_model_give_no_interval():
    shared = {(0, j): 50.0 + j for j in range(3)}

    assert Readings(shared, own=dict.fromkeys(shared, 1.0)).half_width() is None
    assert Readings({}).half_width() is None


def test_a_part_of_the_replicates_has_its_own_mean_and_width():
    found = Readings(VALUES, VALUES, VALUES, dict.fromkeys(VALUES, 10)).on({(1, 1), (3, 3)})

    assert found == Readings(*[{(1, 1): 52.5, (3, 3): 51.0}] * 3, {(1, 1): 10, (3, 3): 10})
    assert found.half_width() == pytest.approx(stats.t.ppf(0.975, 1) * 0.75)
    assert Readings(VALUES).on(()) == Readings(VALUES)


def test_crossed_replicates_have_the_wider_interval_of_what_they_share():
    crossed = {(i, j): 10.0 * i + j for i in range(3) for j in range(3)}
    a, b = 300.0, 3.0  # the mean squares; the residual is 0
    degrees = (a + b) ** 2 / (a**2 / 2 + b**2 / 2)

    half = Readings(crossed).half_width(0.9)

    assert half == pytest.approx(stats.t.ppf(0.95, degrees) * math.sqrt((a + b) / 9))
