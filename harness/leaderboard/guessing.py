"""Whether an attack does better than guessing, and than on retrained models. Pure statistics."""

from __future__ import annotations

import statistics

from harness.leaderboard.readings import Readings
from harness.leaderboard.summary import half_width

GUESSING = 50.0
"""The AUC, in percent, of an attacker who guesses."""
MARGIN = 2.0
"""Percentage points: an AUC that is known to lie this near to 50 is as good as guessing."""
LEVEL = 0.90
"""Of the interval of two one-sided tests at 5 % each."""

EQUIVALENT = "equivalent to guessing"
DIFFERENT = "not equivalent to guessing"
UNDECIDED = "equivalence undecided"
UNDERPOWERED = "underpowered"
UNTESTED = "not testable"
OVER, UNDER, AS_RETRAINED = "over-forgetting", "under-forgetting", "as retrained"
OPEN, BETTER, WORSE = "guessing not excluded", "better than guessing", "over-forgetting"


def equivalence(aucs: Readings) -> str:
    """Whether the AUC, in percent, is equivalent to 50: two one-sided tests, margin 2 points.

    ``EQUIVALENT`` if the mean's 90 % interval lies in 48 to 52, and ``DIFFERENT`` if outside. One
    that does both proves nothing: ``UNDECIDED``, or ``UNDERPOWERED`` if it is wider than these four
    points and so fits nowhere. ``UNTESTED`` without an interval.

    Schuirmann 1987, https://doi.org/10.1007/BF01068419
    """
    half = aucs.half_width(LEVEL) if aucs.values else None
    if half is None:
        return UNTESTED
    distance = abs(aucs.mean - GUESSING)
    if distance + half <= MARGIN:
        return EQUIVALENT
    if distance - half > MARGIN:
        return DIFFERENT
    return UNDERPOWERED if half > MARGIN else UNDECIDED


def beside_retrained(aucs: Readings, retrained: Readings) -> str:
    """Whether the mean AUC lies clearly beside that of the retrained models.

    ``OVER`` if it lies below the 95 % interval of the retrained models' mean, and ``UNDER`` if
    above: either gives a forgotten image away. But ``AS_RETRAINED`` if the 95 % interval of the
    paired differences contains 0: a method has fewer models than retraining, so that the first
    interval alone would flag a fourth of all perfect methods. Empty if there is no value, or no
    interval.
    """
    half = retrained.half_width() if retrained.values and aucs.differences else None
    if half is None:
        return ""
    distance = statistics.fmean(aucs.differences.values())
    if len(aucs.differences) > 1:
        half = max(half, half_width(aucs.differences) or 0.0)
    if abs(distance) <= half:
        return AS_RETRAINED
    return OVER if distance < 0 else UNDER


def beside_guessing(low: float, high: float) -> str:
    """What a 95 % interval, in percent, says of an attack that has one value for a method.

    ``EQUIVALENT`` if it lies in 48 to 52; ``OPEN`` if it contains 50; else ``BETTER`` above it and
    ``WORSE`` below, where whoever turns the attack's answer round does better than guessing.
    """
    if low >= GUESSING - MARGIN and high <= GUESSING + MARGIN:
        return EQUIVALENT
    if low <= GUESSING <= high:
        return OPEN
    return BETTER if low > GUESSING else WORSE
