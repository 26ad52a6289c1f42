"""Estimates with their intervals, and the noise of retraining: pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from harness.evidence import Estimate

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
FEWEST_REPLICATES = 3
"""With fewer nobody can tell whether a scenario discriminates."""
FEWEST_FALSE_POSITIVES = 10
"""The false positives that a TPR's threshold must allow for, or it hangs on single points."""
DECIMALS = 9
"""Differences of percentage points are rounded to these: what lies below is float64's own noise."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """A sample's mean, its spread and the mean's 95 % t-interval; of one value only the mean."""

    mean: float
    sd: float | None
    """The sample's own: n - 1 in the denominator."""
    low: float | None
    high: float | None
    n: int


def proportion(successes: int, n: int) -> Estimate:
    """A share in percent with its Wilson interval; no value where n is 0.

    Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953
    """
    return _share(successes, n, method="wilson") if n else Estimate(None, note="no points")


def delong(members: ArrayLike, nonmembers: ArrayLike) -> Estimate:
    """The AUC in percent with DeLong's interval, clipped to [0, 100]; higher means member.

    The interval has no width where every member outscores every non-member, and there is none where
    a side has a single point. Raises ValueError for scores that are not finite.

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
    variance = float(np.var(wins, ddof=1) / len(wins) + np.var(losses, ddof=1) / len(losses))
    half = 100 * float(stats.norm.isf((1 - CONFIDENCE) / 2)) * math.sqrt(variance)
    return Estimate(value, max(0.0, value - half), min(100.0, value + half), n)


def tpr_at_fpr(members: ArrayLike, nonmembers: ArrayLike, fpr: float) -> Estimate:
    """The largest TPR in percent whose FPR is at most ``fpr``, in (0, 1]; n counts the members.

    From the whole ROC, without interpolation. The Clopper-Pearson interval holds for the threshold
    that was found. No value below 10 / ``fpr`` non-members. Raises ValueError for scores that are
    not finite.

    Clopper & Pearson 1934, https://doi.org/10.1093/biomet/26.4.404
    """
    if not 0 < fpr <= 1:
        raise ValueError(f"fpr must be in (0, 1]; got {fpr}")
    positive, negative = _scores(members), _scores(nonmembers)
    missing = _missing(positive, negative)
    if missing:
        return Estimate(None, note=missing)
    allowed = round(fpr * len(negative), DECIMALS)
    if allowed < FEWEST_FALSE_POSITIVES:
        return Estimate(None, note=f"not measurable at n = {len(negative)}")
    if allowed >= len(negative):
        return _share(len(positive), len(positive), method="exact")
    first_excluded = np.sort(negative)[::-1][math.floor(allowed)]
    found = int(np.count_nonzero(positive > first_excluded))
    return _share(found, len(positive), method="exact")


def summarise(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and the 95 % t-interval of the mean.

    Raises ValueError where there is no value.
    """
    n = len(values)
    if n == 0:
        raise ValueError("a summary needs at least one value")
    mean = float(np.mean(values))
    if n == 1:
        return Summary(mean, None, None, None, 1)
    sd = float(np.std(values, ddof=1))
    half = float(special.stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * sd / math.sqrt(n)
    return Summary(mean, sd, mean - half, mean + half, n)


def retrain_noise(values: Sequence[float]) -> list[float]:
    """What a further retrained model would show against the mean of the K, from each of the K.

    Each value's distance from the mean of the other K - 1 has the variance σ²K / (K - 1), a further
    model's from the mean of all K has σ²(K + 1) / K: hence the factor √((K² - 1) / K²). Raises
    ValueError for fewer than two values.
    """
    k = len(values)
    if k < 2:
        raise ValueError(f"the noise of retraining needs at least two models; got {k}")
    factor = math.sqrt(k * k - 1) / k
    others = [math.fsum((*values[:i], *values[i + 1 :])) / (k - 1) for i in range(k)]
    return [abs(value - other) * factor for value, other in zip(values, others, strict=True)]


def exceeds_noise(differences: Sequence[float]) -> bool:
    """Whether the mean exceeds three standard errors; never with fewer than three replicates.

    Of original - mean of the K retrained models, a value a replicate, in percentage points: whether
    a scenario discriminates.
    """
    n = len(differences)
    if n < FEWEST_REPLICATES:
        return False
    values = np.asarray(differences, dtype=np.float64).round(DECIMALS)
    return bool(values.mean() > 3 * _sd(values) / math.sqrt(n))


def _share(successes: int, n: int, *, method: Literal["wilson", "exact"]) -> Estimate:
    interval = stats.binomtest(successes, n).proportion_ci(CONFIDENCE, method=method)
    return Estimate(100 * successes / n, 100 * float(interval.low), 100 * float(interval.high), n)


def _scores(values: ArrayLike) -> Vector:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1:
        raise ValueError(f"scores must be (n,); got {scores.shape}")
    finite = np.isfinite(scores)
    if not finite.all():
        raise ValueError(f"scores must be finite; {np.count_nonzero(~finite)} of {len(scores)} not")
    return scores


def _missing(members: Vector, nonmembers: Vector) -> str:
    if not len(members):
        return "no members"
    return "" if len(nonmembers) else "no non-members"


def _placements(members: Vector, nonmembers: Vector) -> tuple[Vector, Vector]:
    """The share of the other side that scores lower: for each member, then for each non-member."""
    m, n = len(members), len(nonmembers)
    together = stats.rankdata(np.concatenate([members, nonmembers]))
    nonmembers_below = together[:m] - stats.rankdata(members)
    members_below = together[m:] - stats.rankdata(nonmembers)
    return nonmembers_below / n, members_below / m


def _sd(values: Vector) -> float:
    """The sample's standard deviation, exactly 0 for values that are all the same."""
    return float(np.std(values, ddof=1)) if np.ptp(values) else 0.0
