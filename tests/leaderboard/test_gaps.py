"""Gaps, the noise floor and whether a scenario discriminates, against closed forms."""

import math
import statistics

import numpy as np
import pytest
from worlds import lines, row_of, world

from harness.leaderboard.gaps import exceeds_noise, retrain_noise
from harness.leaderboard.table import tables


def test_the_gap_is_the_mean_distance_from_the_mean_of_the_retrained():
    found = []
    for draw, forget in enumerate((78, 80, 85)):
        found += lines("retrain", 0, [forget, 100, 80, 50], draw=draw)
    found += lines("m", 0, [91, 98, 80, 47])

    row = row_of(tables(found)[0], "m")

    assert row.gap.mean == pytest.approx((10 + 2 + 0 + 3) / 4)
    assert row.metrics["accuracy.forget"].difference.mean == pytest.approx(10)
    assert row.metrics["loss-mia.auc"].difference.mean == pytest.approx(-3)
    assert row.spending.seconds_share == pytest.approx(0.1)
    assert row.rank is None


def test_the_gap_is_taken_in_each_replicate_and_then_averaged():
    found = []
    for seed, offset in ((0, 4), (1, -4)):
        for draw in range(3):
            found += lines("retrain", seed, [80, 100, 80, 50], draw=draw)
        found += lines("m", seed, [80 + offset, 100, 80, 50])

    row = row_of(tables(found)[0], "m")

    assert row.gap.mean == pytest.approx(1)
    assert row.metrics["accuracy.forget"].difference.mean == pytest.approx(0)


def test_the_noise_floor_is_what_a_further_retrained_model_would_show():
    draws = (78.0, 80.0, 85.0)
    found = [
        line
        for draw, forget in enumerate(draws)
        for line in lines("retrain", 0, [forget, 100, 80, 50], draw=draw)
    ]

    row = row_of(tables(found)[0], "retrain")

    others = [abs(d - statistics.fmean({*draws} - {d})) for d in draws]
    assert row.gap.mean == pytest.approx(statistics.fmean(others) * (8 / 9) ** 0.5 / 4)


def test_a_scenario_discriminates_on_the_pages_own_replicates_whatever_others_bring():
    found = world({"near": 0, "far": 8})
    for seed in range(100, 120):
        for draw in range(3):
            found += lines("retrain", seed, [80, 100, 80, 50], draw=draw, source="")
        found += lines("original", seed, [0, 0, 0, 0], source="")

    assert tables(found)[0].discriminates is True


@pytest.mark.parametrize(
    ("original", "discriminates"),
    [
        ((100, 100, 80, 70), True),
        ((100, 100, 80, 30), True),  # an attack whose score is the share of non-members
        ((100, 100, 80, 50), False),
        ((60, 100, 80, 70), False),  # whoever has seen the forget set knows it better
    ],
)
def test_a_scenario_discriminates_whichever_way_its_attack_scores(original, discriminates):
    found = world({"near": 0, "far": 8}, original=original)

    assert tables(found)[0].discriminates is discriminates


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


def by_replicate(values):
    return {(i, i): value for i, value in enumerate(values)}


class TestExceedsNoise:
    def test_asks_for_more_than_three_standard_errors(self):
        spread = np.array([-1.0, 0.0, 1.0])
        bound = 3 / math.sqrt(3)

        assert exceeds_noise(by_replicate(spread + bound + 0.001))
        assert not exceeds_noise(by_replicate(spread + bound - 0.001))

    def test_is_one_sided(self):
        assert not exceeds_noise(by_replicate([-9.0, -9.1, -9.2]))

    def test_needs_three_replicates(self):
        assert not exceeds_noise(by_replicate([10.0, 10.0]))
        assert exceeds_noise(by_replicate([10.0, 10.0, 10.0]))

    def test_counts_replicates_that_share_a_model_only_once(self):
        """Of one model and nine forget sets, or three models that differ far more than they do."""
        one_model = {(0, j): 10.0 + j / 10 for j in range(9)}
        apart = {(i, j): 5.0 + 15.0 * i + j / 10 for i in range(3) for j in range(3)}
        near = {(i, j): 10.0 + i + j / 10 for i in range(3) for j in range(3)}

        assert not exceeds_noise(one_model)
        assert not exceeds_noise(apart)
        assert exceeds_noise(by_replicate(apart.values()))  # nine independent ones would do
        assert exceeds_noise(near)

    def test_takes_rounding_for_no_difference(self):
        assert not exceeds_noise(by_replicate([1e-14, 1e-14, 1e-14]))
