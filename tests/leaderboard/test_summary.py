"""A sample's mean, spread and interval, against scipy and closed forms."""

import math

import pytest
from scipy import stats

from harness.leaderboard.summary import summarise


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

    def test_of_nothing_is_refused(self):
        with pytest.raises(ValueError, match="at least one"):
            summarise([])
