"""Verdicts on an attack's AUC, against scipy's one-sided tests and by simulation."""

import numpy as np
import pytest
from scipy import stats

from harness.leaderboard.guessing import beside_guessing, beside_retrained, equivalence
from harness.leaderboard.readings import Readings


def readings(values, beside=None):
    """Of independent replicates, with the differences from ``beside``."""
    values = np.asarray(values, dtype=float)
    differences = [] if beside is None else values - np.asarray(beside, dtype=float)
    return Readings(
        {(i, i): float(value) for i, value in enumerate(values)},
        {(i, i): float(value) for i, value in enumerate(differences)},
    )


class TestEquivalence:
    def test_is_two_one_sided_tests_at_five_per_cent(self):
        rng = np.random.default_rng(0)
        outcomes = set()
        for _ in range(300):
            aucs = 50 + rng.normal(0, 1.2) + rng.normal(0, rng.uniform(0.3, 2), rng.integers(3, 12))
            above = stats.ttest_1samp(aucs, 48, alternative="greater").pvalue
            below = stats.ttest_1samp(aucs, 52, alternative="less").pvalue

            found = equivalence(readings(aucs))

            assert (found == "equivalent to guessing") == (max(above, below) <= 0.05)
            outcomes.add(found)
        assert outcomes == {
            "equivalent to guessing",
            "not equivalent to guessing",
            "equivalence undecided",
            "underpowered",
        }

    def test_is_underpowered_where_no_mean_could_pass(self):
        """Of two replicates at 50 ± d the 90 % interval is 50 ± 6.31 d."""
        d = 2 / stats.t.ppf(0.95, 1)

        assert equivalence(readings([50 - 0.99 * d, 50 + 0.99 * d])) == "equivalent to guessing"
        assert equivalence(readings([50 - 1.01 * d, 50 + 1.01 * d])) == "underpowered"

    def test_of_a_wide_interval_far_from_guessing_is_a_clear_no(self):
        d = 2 / stats.t.ppf(0.95, 1)

        assert equivalence(readings([80 - 9 * d, 80 + 9 * d])) == "not equivalent to guessing"
        assert equivalence(readings([20 - 9 * d, 20 + 9 * d])) == "not equivalent to guessing"

    def test_is_undecided_where_the_interval_reaches_beyond_the_margin(self):
        assert equivalence(readings([51.4, 51.5, 51.6, 51.9])) == "equivalent to guessing"
        assert equivalence(readings([51.4, 52.0, 51.6, 52.6])) == "equivalence undecided"

    def test_of_one_run_rests_on_its_interval_over_the_images(self):
        """Its half-width at 90 % is 1.645 / 1.96 of that at 95 %; 1,130 images a side suffice."""

        def one(auc, images):
            half = 100 * 1.96 * ((2 * images + 1) / (12 * images * images)) ** 0.5
            return equivalence(Readings({(0, 0): auc}, own={(0, 0): half}))

        assert one(50, 1140) == "equivalent to guessing"
        assert one(50, 1120) == "underpowered"
        assert one(53, 5000) == "not equivalent to guessing"

    def test_takes_a_low_auc_for_no_better_than_a_high_one(self):
        assert equivalence(readings([46.9, 47.0, 47.1])) == "not equivalent to guessing"
        assert equivalence(readings([53.1, 53.0, 52.9])) == "not equivalent to guessing"

    def test_needs_an_interval(self):
        assert equivalence(Readings({(0, 0): 50.0})) == "not testable"
        assert equivalence(Readings({(0, 0): 50.0, (0, 1): 50.1})) == "not testable"
        assert equivalence(Readings({})) == "not testable"


class TestBesideRetrained:
    RETRAINED = (49.8, 50.0, 50.2, 50.0)

    @pytest.mark.parametrize(
        ("offset", "verdict"),
        [(-3, "over-forgetting"), (0.05, "as retrained"), (3, "under-forgetting")],
    )
    def test_tells_which_side_the_mean_lies_on(self, offset, verdict):
        aucs = np.array(self.RETRAINED) + offset + np.array([0.1, -0.1, 0.1, -0.1])

        found = beside_retrained(readings(aucs, self.RETRAINED), readings(self.RETRAINED))

        assert found == verdict

    def test_flags_nothing_inside_the_interval_of_the_retrained_models(self):
        """A constant difference is significant, but no larger than their own uncertainty."""
        half = readings(self.RETRAINED).half_width()
        inside, outside = (np.array(self.RETRAINED) - factor * half for factor in (0.99, 1.01))

        found = [
            beside_retrained(readings(aucs, self.RETRAINED), readings(self.RETRAINED))
            for aucs in (inside, outside)
        ]

        assert found == ["as retrained", "over-forgetting"]

    @pytest.mark.parametrize("shared", [0.0, 1.0])
    def test_flags_at_most_one_perfect_method_in_twenty(self, shared):
        """A perfect method is one more retrained model; ``shared`` is what a replicate adds."""
        rng = np.random.default_rng(0)
        flagged = 0
        for _ in range(1000):
            common = rng.normal(50, shared, 8)
            retrained = (common[:, None] + rng.normal(0, 1, (8, 3))).mean(axis=1)
            aucs = common + rng.normal(0, 1, 8)
            verdict = beside_retrained(readings(aucs, retrained), readings(retrained))
            flagged += verdict != "as retrained"

        assert flagged / 1000 < 0.065

    def test_of_one_replicate_rests_on_the_retrained_models_interval(self):
        retrained = Readings({(0, 0): 50.0}, own={(0, 0): 2.0})

        found = [
            beside_retrained(Readings({(0, 0): auc}, {(0, 0): auc - 50}), retrained)
            for auc in (47.9, 48.1, 52.1)
        ]

        assert found == ["over-forgetting", "as retrained", "under-forgetting"]

    def test_is_silent_without_retrained_models(self):
        assert beside_retrained(readings([50, 51]), Readings({})) == ""
        assert beside_retrained(readings([50, 51]), readings([50, 51])) == ""


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (48.0, 52.0, "equivalent to guessing"),
        (50.5, 51.9, "equivalent to guessing"),
        (47.9, 51.0, "guessing not excluded"),
        (50.0, 60.0, "guessing not excluded"),
        (50.1, 60.0, "better than guessing"),
        (40.0, 49.9, "over-forgetting"),
    ],
)
def test_one_value_is_judged_by_its_own_interval(low, high, verdict):
    assert beside_guessing(low, high) == verdict
