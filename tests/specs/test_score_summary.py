"""A summary of scores has a ROC and two histograms of fixed length."""

import pytest

from harness.specs.score_summary import BINS, FPRS, ScoreSummary

RIGHT = {
    "tpr": FPRS,
    "low": -1.0,
    "high": 1.0,
    "members": range(BINS),
    "nonmembers": [1] * BINS,
}


def test_rates_are_eight_per_decade_from_a_thousandth_to_one():
    assert len(FPRS) == 25
    assert FPRS[0] == pytest.approx(0.001)
    assert FPRS[8] == pytest.approx(0.01)
    assert FPRS[-1] == 1
    assert ScoreSummary(**RIGHT).members == tuple(range(BINS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tpr": FPRS[1:]}, "tpr must have 25 values; got 24"),
        ({"members": ()}, "members must have 24 values; got 0"),
        ({"nonmembers": [-1] * BINS}, "nonmembers"),
        ({"tpr": [1.5] * 25}, "tpr"),
        ({"low": 1.0}, "low must be below high; got 1.0, 1.0"),
        ({"high": float("nan")}, "high"),
    ],
)
def test_another_form_is_an_error_that_names_the_field(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ScoreSummary(**RIGHT | change)
