"""Pure functions that estimate shares, AUC and TPR, with intervals, from outcomes and scores."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.specs.protocol import CONFIDENCE, Estimate

Vector = NDArray[np.float64]
FEWEST_FALSE_POSITIVES = 10
"""The fewest false positives at a TPR's threshold; with fewer, single points decide it."""


def proportion(successes: int, n: int) -> Estimate:
    """A share in percent with its Wilson interval; no value where n is 0.

    Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953
    """
    return _share(successes, n, method="wilson") if n else Estimate(None, note="no points")


def delong(members: ArrayLike, nonmembers: ArrayLike) -> Estimate:
    """The AUC in percent with DeLong's interval, clipped to [0, 100]; higher means member.

    The interval has no width if every member outscores every non-member, and there is none if
    either side has a single point. Raises ValueError for scores that are not finite.

    DeLong et al. 1988, https://doi.org/10.2307/2531595; by midranks, in O(n log n): Sun & Xu 2014,
    https://doi.org/10.1109/LSP.2014.2337313
    """
    positive, negative = _scores(members), _scores(nonmembers)
    missing = _missing(positive, negative)
    if missing:
        return Estimate(None, note=missing)
    wins, losses = _placements(positive, negative)
    value, n = 100 * float(wins.mean()), len(wins) + len(losses)
    if min(len(wins), len(losses)) < 2:
        return Estimate(value, n=n)
    from scipy import stats

    variance = float(np.var(wins, ddof=1) / len(wins) + np.var(losses, ddof=1) / len(losses))
    half = 100 * float(stats.norm.isf((1 - CONFIDENCE) / 2)) * math.sqrt(variance)
    return Estimate(value, max(0.0, value - half), min(100.0, value + half), n)


def tpr_at_fpr(members: ArrayLike, nonmembers: ArrayLike, fpr: float) -> Estimate:
    """The largest TPR in percent whose FPR is at most ``fpr``, in (0, 1]; n counts the members.

    It uses the whole ROC, without interpolation. The Clopper-Pearson interval is conditional on the
    threshold. There is no value for fewer than 10 / ``fpr`` non-members. Raises ValueError for
    scores that are not finite.

    Clopper & Pearson 1934, https://doi.org/10.1093/biomet/26.4.404
    """
    if not 0 < fpr <= 1:
        raise ValueError(f"fpr must be in (0, 1]; got {fpr}")
    positive, negative = _scores(members), _scores(nonmembers)
    missing = _missing(positive, negative)
    if missing:
        return Estimate(None, note=missing)
    allowed = round(fpr * len(negative), 9)  # rounding errors are smaller
    if allowed < FEWEST_FALSE_POSITIVES:
        return Estimate(None, note=f"not measurable at n = {len(negative)}")
    if allowed >= len(negative):
        return _share(len(positive), len(positive), method="exact")
    first_excluded = np.sort(negative)[::-1][math.floor(allowed)]
    found = int(np.count_nonzero(positive > first_excluded))
    return _share(found, len(positive), method="exact")


def _share(successes: int, n: int, *, method: Literal["wilson", "exact"]) -> Estimate:
    from scipy import stats

    interval = stats.binomtest(successes, n).proportion_ci(CONFIDENCE, method=method)
    return Estimate(100 * successes / n, 100 * float(interval.low), 100 * float(interval.high), n)


def _scores(values: ArrayLike) -> Vector:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1:
        raise ValueError(f"scores must be (n,); got {scores.shape}")
    finite = np.isfinite(scores)
    if not finite.all():
        raise ValueError(
            f"scores must be finite; {np.count_nonzero(~finite)} of {len(scores)} are not"
        )
    return scores


def _missing(members: Vector, nonmembers: Vector) -> str:
    if not len(members):
        return "no members"
    return "" if len(nonmembers) else "no non-members"


def _placements(members: Vector, nonmembers: Vector) -> tuple[Vector, Vector]:
    """The share of the other side that scores lower, for each member and for each non-member."""
    from scipy import stats

    m, n = len(members), len(nonmembers)
    together = stats.rankdata(np.concatenate([members, nonmembers]))
    nonmembers_below = together[:m] - stats.rankdata(members)
    members_below = together[m:] - stats.rankdata(nonmembers)
    return nonmembers_below / n, members_below / m
