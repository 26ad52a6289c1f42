"""A panel's coordinates, ticks and words, in closed form."""

import pytest
from scored import summary

from harness.leaderboard.score_curves import together
from harness.leaderboard.score_panels import (
    BARS_LEFT,
    BOTTOM,
    ROC_LEFT,
    SIDE,
    TOP,
    in_words,
    panel,
    roc_points,
    score_ticks,
)
from harness.leaderboard.svg import number
from harness.specs.score_summary import FPRS


def test_guessing_lies_on_the_diagonal_eight_points_a_decade():
    step = SIDE / 24

    points = roc_points(FPRS)

    for i, (x, y) in enumerate(points):
        assert x == pytest.approx(ROC_LEFT + step * i)
        assert y == pytest.approx(BOTTOM - step * i)


@pytest.mark.parametrize(
    ("tpr", "height"), [(0, 0), (0.0004, 0), (0.001, 0), (0.01, 1 / 3), (0.1, 2 / 3), (1, 1)]
)
def test_a_rate_is_as_high_as_its_logarithm_and_never_below_the_axis(tpr, height):
    points = roc_points([tpr] * len(FPRS))

    assert [y for _, y in points] == pytest.approx([BOTTOM - SIDE * height] * len(FPRS))


def test_the_bars_rise_to_their_share_of_the_axis():
    scores = together({"m": [summary(members={0: 3, 23: 1}, nonmembers={1: 7})]})

    drawn = panel("m", scores, None, (0, 0))

    right = BARS_LEFT + 7 * 24
    quarter, three = (number(BOTTOM - SIDE * share) for share in (0.25, 0.75))
    assert f"M{number(BARS_LEFT)} {number(BOTTOM)}L{number(BARS_LEFT)} {three}L" in drawn
    assert f"L{number(right)} {quarter}L{number(right)} {number(BOTTOM)}Z" in drawn
    assert f"L{number(BARS_LEFT + 7)} {number(TOP)}L{number(BARS_LEFT + 14)} {number(TOP)}" in drawn
    assert [f">{text}<" in drawn for text in ("0 %", "50 %", "100 %")] == [True] * 3


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (10_000, "TPR 0.1 % at FPR 0.1 %; retrained models 0.0–0.3 %"),
        (9_999, "TPR 1.0 % at FPR 1 %; retrained models 0.0–3.0 %"),
        (1_000, "TPR 1.0 % at FPR 1 %; retrained models 0.0–3.0 %"),
        (999, "TPR 10.0 % at FPR 10 %; retrained models 0.0–30.0 %"),
        (100, "TPR 10.0 % at FPR 10 %; retrained models 0.0–30.0 %"),
        (99, "TPR not measurable at n = 99"),
    ],
)
def test_the_rate_in_words_is_the_lowest_with_ten_false_positives(n, words):
    retrained = [[0] * len(FPRS), [min(1, 3 * rate) for rate in FPRS]]
    scores = together(
        {
            "m": [summary(nonmembers={0: n})],
            "retrain": [summary(rates, nonmembers={0: 20_000}) for rates in retrained],
        }
    )

    assert in_words(scores.rows["m"], scores, scores.rows["retrain"]) == words


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (-10, 10, ["−10", "0", "10"]),
        (0, 1, ["0.0", "0.5", "1.0"]),
        (-15, 0, ["−15.0", "−7.5", "0.0"]),
        (0, 0.002, ["0.000", "0.001", "0.002"]),
        (-1 / 3, 2 / 3, ["−0.33", "0.17", "0.67"]),
    ],
)
def test_the_ticks_of_scores_have_as_many_decimals_as_they_need(low, high, ticks):
    assert score_ticks(low, high) == ticks


def test_a_long_name_is_cut_off_where_it_is_drawn_and_whole_in_the_tooltip():
    name = "m (" + "setting=1, " * 20 + ")"

    drawn = panel(name, together({name: [summary()]}), None, (20, 30))

    assert f"<title>{name}</title>" in drawn
    assert drawn.count("setting=1") == 20 + 3
    assert 'transform="translate(20 30)"' in drawn
