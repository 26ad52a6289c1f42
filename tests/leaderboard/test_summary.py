"""A sample's mean, spread and interval, against scipy and closed forms."""

import math
import statistics

import pytest
from scipy import stats

from harness.leaderboard.summary import summarise, summarise_replicates


class TestSummarise:
    def test_has_the_t_interval(self):
        values = [1.0, 4.0, 2.5, 3.5]
        reference = stats.ttest_1samp(values, 0).confidence_interval(0.95)

        summary = summarise(values)

        assert summary.mean == 2.75
        assert summary.sd == pytest.approx(math.sqrt((1.75**2 + 1.25**2 + 0.25**2 + 0.75**2) / 3))
        assert (summary.low, summary.high) == pytest.approx((reference.low, reference.high))
        assert summary.n == 4

    def test_of_one_value_knows_no_spread(self):
        summary = summarise([2.0])

        assert (summary.mean, summary.n) == (2.0, 1)
        assert summary.sd is summary.low is summary.high is None

    def test_of_crossed_replicates_has_an_interval_that_allows_for_what_they_share(self):
        values = {(i, j): 10.0 * i + j for i in range(3) for j in range(3)}

        summary = summarise_replicates(values)

        assert (summary.mean, summary.n) == (11.0, 9)
        assert summary.sd == pytest.approx(statistics.stdev(values.values()))
        a, b = 300.0, 3.0  # the mean squares; the residual is 0
        half = stats.t.ppf(0.975, (a + b) ** 2 / (a**2 / 2 + b**2 / 2)) * math.sqrt((a + b) / 9)
        assert (summary.low, summary.high) == pytest.approx((11 - half, 11 + half))

    def test_of_one_forget_set_has_a_spread_but_no_interval(self):
        summary = summarise_replicates({(0, 0): 1.0, (1, 0): 2.0, (2, 0): 3.0})

        assert (summary.mean, summary.sd, summary.low, summary.high) == (2.0, 1.0, None, None)

    def test_of_nothing_is_refused(self):
        with pytest.raises(ValueError, match="at least one"):
            summarise([])
