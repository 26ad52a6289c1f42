"""One row of a picture of scores: its ROC on log-log axes, its histograms beside it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from harness.leaderboard.score_curves import AttackScores, RowScores
from harness.leaderboard.svg import Point, element, label, line, path, printable, rectangle
from harness.specs.score_summary import BINS, FEWEST_FALSE_POSITIVES, FPRS

WIDTH, HEIGHT = 420, 220
"""Of a panel, in pixels."""
LEAST = FPRS[0]
"""Where both axes of a ROC begin; lower rates are drawn there."""
DECADES = {0.001: ".001", 0.01: ".01", 0.1: ".1", 1.0: "1"}
"""The ticks of both axes."""
TOP, SIDE = 44, 144
"""Of both plots, and the side of a ROC."""
BOTTOM = TOP + SIDE
ROC_LEFT, BARS_LEFT, BAR = 46, 246, 7
BARS_WIDTH = BAR * BINS
LONGEST = 40
"""The characters of a row's label for which a panel has room."""
TOPS = (0.06, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
"""Where the axis of a histogram may end."""
TOLD = {0: "0.1 %", 8: "1 %", 16: "10 %"}
"""Of ``FPRS``, by position, those at which a panel may print the TPR."""


def frame(scores: AttackScores, retrained: RowScores | None) -> str:
    """All that the panels of one picture share: axes, the retrained models' band, guessing."""
    return element("g", *_roc_frame(scores, retrained), *_bars_frame(scores), id="frame")


def panel(name: str, scores: AttackScores, retrained: RowScores | None, at: Point) -> str:
    """One row: its name, what it is in words, its curve and its histograms over the frame."""
    row = scores.rows[name]
    top = next(top for top in TOPS if top >= min(1.0, max(*row.members, *row.nonmembers)))
    return element(
        "g",
        element("title", escape(printable(name))),
        label(printable(name, LONGEST), (ROC_LEFT, 16), class_="name"),
        label(in_words(row, scores, retrained), (ROC_LEFT, 33), class_="muted"),
        element("use", href="#frame"),
        path(roc_points(row.tpr), "curve"),
        *_heights(top),
        path(_outline(row.members, top), "forget", close=True),
        path(_outline(row.nonmembers, top), "others"),
        transform=f"translate({at[0]:.0f} {at[1]:.0f})",
    )


def in_words(row: RowScores, scores: AttackScores, retrained: RowScores | None) -> str:
    """As in ``TPR 3.2 % at FPR 1 %; retrained models 0.9–1.4 %``, at the lowest measurable FPR."""
    measurable = (i for i in TOLD if round(FPRS[i] * scores.fewest, 9) >= FEWEST_FALSE_POSITIVES)
    i = next(measurable, None)
    if i is None:
        return f"TPR not measurable at n = {scores.fewest}"
    words = f"TPR {100 * row.tpr[i]:.1f} % at FPR {TOLD[i]}"
    if retrained is None:
        return words
    lowest, highest = 100 * retrained.lowest[i], 100 * retrained.highest[i]
    return f"{words}; retrained models {lowest:.1f}–{highest:.1f} %"


def doubtful_below(scores: AttackScores) -> float:
    """The false positive rate below which single non-members decide the curve of some run."""
    return FEWEST_FALSE_POSITIVES / max(1, scores.fewest)


def roc_points(rates: Sequence[float]) -> list[Point]:
    """Where the true positive rates at ``FPRS`` lie in a panel."""
    return [(_x(fpr), _y(tpr)) for fpr, tpr in zip(FPRS, rates, strict=True)]


def _x(fpr: float) -> float:
    return ROC_LEFT + SIDE * (1 - math.log10(max(fpr, LEAST)) / math.log10(LEAST))


def _y(tpr: float) -> float:
    return TOP + SIDE * math.log10(max(tpr, LEAST)) / math.log10(LEAST)


def _roc_frame(scores: AttackScores, retrained: RowScores | None) -> Iterable[str]:
    right = ROC_LEFT + SIDE
    yield rectangle((ROC_LEFT, TOP), (SIDE, SIDE), "plot")
    doubtful = _x(min(1.0, doubtful_below(scores)))
    if doubtful > ROC_LEFT:
        yield rectangle((ROC_LEFT, TOP), (doubtful - ROC_LEFT, SIDE), "few")
    for rate, text in DECADES.items():
        yield line((_x(rate), TOP), (_x(rate), BOTTOM), "grid")
        yield line((ROC_LEFT, _y(rate)), (right, _y(rate)), "grid")
        yield label(text, (_x(rate), BOTTOM + 14), class_="tick mid")
        yield label(text, (ROC_LEFT - 5, _y(rate) + 3.5), class_="tick end")
    yield label("false positive rate", (ROC_LEFT + SIDE / 2, BOTTOM + 29), class_="axis mid")
    yield _upright("true positive rate", ROC_LEFT - 34)
    if retrained is not None:
        lowest, highest = roc_points(retrained.lowest), roc_points(retrained.highest)
        yield path([*highest, *reversed(lowest)], "band", close=True)
    yield line((ROC_LEFT, BOTTOM), (right, TOP), "guess")


def _bars_frame(scores: AttackScores) -> Iterable[str]:
    right = BARS_LEFT + BARS_WIDTH
    yield rectangle((BARS_LEFT, TOP), (BARS_WIDTH, SIDE), "plot")
    for height in (TOP, TOP + SIDE / 2, BOTTOM):
        yield line((BARS_LEFT, height), (right, height), "grid")
    ticks = score_ticks(scores.low, scores.high)
    for x, text in zip((BARS_LEFT, (BARS_LEFT + right) / 2, right), ticks, strict=True):
        yield line((x, BOTTOM), (x, BOTTOM + 4), "grid")
        yield label(text, (x, BOTTOM + 14), class_="tick mid")
    yield label("score", (BARS_LEFT + BARS_WIDTH / 2, BOTTOM + 29), class_="axis mid")
    yield _upright("share of samples", BARS_LEFT - 38)


def score_ticks(low: float, high: float) -> list[str]:
    """The edges and the middle of a histogram, with as few decimals as are exact, or two more."""
    values = low, (low + high) / 2, high
    fewest = max(0, -math.floor(math.log10(high - low)))
    decimals = next(
        (d for d in (fewest, fewest + 1) if all(abs(round(v, d) - v) < 1e-9 for v in values)),
        fewest + 2,
    )
    return [f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−") for value in values]


def _heights(top: float) -> Iterable[str]:
    for share, y in ((0.0, BOTTOM), (top / 2, TOP + SIDE / 2), (top, TOP)):
        yield label(f"{100 * share:.0f} %", (BARS_LEFT - 5, y + 3.5), class_="tick end")


def _outline(shares: Sequence[float], top: float) -> Iterable[Point]:
    """The steps of a histogram, from its lower left corner to its lower right one."""
    yield BARS_LEFT, BOTTOM
    for i, share in enumerate(shares):
        y = BOTTOM - SIDE * share / top
        yield BARS_LEFT + BAR * i, y
        yield BARS_LEFT + BAR * (i + 1), y
    yield BARS_LEFT + BARS_WIDTH, BOTTOM


def _upright(text: str, x: float) -> str:
    """An axis's title that reads upwards, at half the height of the plots."""
    y = TOP + SIDE // 2
    return label(text, (x, y), class_="axis mid", transform=f"rotate(-90 {x} {y})")
