"""Intervals, tests and ranks: pure functions of numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from harness.evidence import Estimate

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
FEWEST_REPLICATES = 3
"""With fewer shared replicates two rows are not compared."""
FEWEST_FALSE_POSITIVES = 10
"""The false positives that a TPR's threshold must allow for, or it hangs on single points."""
DECIMALS = 9
"""Differences of percentage points are rounded to these: what lies below is float64's own noise."""

Vector = NDArray[np.float64]
Gaps = Mapping[str, Mapping[Hashable, float]]
"""Row → replicate → gap in percentage points."""
Pair = tuple[str, str]
Key = TypeVar("Key", bound=Hashable)


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


def auc(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """The chance in [0, 1] that a member scores higher than a non-member; a tie counts half.

    Raises ValueError for scores that are not finite, and where a side is empty.
    """
    positive, negative = _scores(members), _scores(nonmembers)
    missing = _missing(positive, negative)
    if missing:
        raise ValueError(f"an AUC needs both sides; there are {missing}")
    wins, _ = _placements(positive, negative)
    return float(wins.mean())


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
    half = float(stats.t.isf((1 - CONFIDENCE) / 2, n - 1)) * sd / math.sqrt(n)
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


def paired_p_values(gaps: Gaps) -> dict[Pair, float]:
    """The two-sided paired t-test of each pair of rows over the replicates that both have.

    A pair with fewer than three of them is left out. Differences that are all the same give p = 1
    where they are zero, else p = 0. Raises ValueError for a gap that is not finite.
    """
    return {pair: _t_test(differences) for pair, differences in _differences(gaps).items()}


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """The p-values adjusted for their number by Holm's step-down procedure, in [0, 1].

    Holm 1979, https://www.jstor.org/stable/4615733
    """
    adjusted: dict[Key, float] = {}
    reached = 0.0
    for step, key in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        reached = max(reached, min(1.0, (len(p_values) - step) * p_values[key]))
        adjusted[key] = reached
    return {key: adjusted[key] for key in p_values}


def ranks(gaps: Gaps) -> dict[str, int | None]:
    """1 + the number of rows with a significantly lower gap; none of a row without comparison.

    Significant: the paired t-test's p, adjusted by Holm over all pairs of ranked rows, is at most
    5 %. Any two ranked rows share three replicates or more: as long as two do not, those rows lose
    their rank that lack the most partners. Raises ValueError for a gap that is not finite.
    """
    ranked = _comparable(gaps)
    better = Counter(worse for _, worse in significant_pairs(ranked))
    return {row: 1 + better[row] if row in ranked else None for row in gaps}


def significant_pairs(gaps: Gaps) -> set[Pair]:
    """The pairs of rows, the better one first, whose gaps differ by ``ranks``' test.

    Raises ValueError for a gap that is not finite.
    """
    differences = _differences(gaps)
    adjusted = holm({pair: _t_test(values) for pair, values in differences.items()})
    return {
        (first, second) if values.mean() < 0 else (second, first)
        for (first, second), values in differences.items()
        if adjusted[first, second] <= SIGNIFICANCE
    }


def smallest_difference(gaps: Gaps) -> float | None:
    """The difference of mean gaps, in percentage points, that the ranking could just detect.

    The median over the pairs of ranked rows of Holm's first step: the critical t at 5 % over the
    number of pairs, times the standard deviation of the pair's differences, over √n; n is the
    pair's number of shared replicates. None where no two rows are ranked.
    """
    differences = list(_differences(_comparable(gaps)).values())
    if not differences:
        return None
    level = SIGNIFICANCE / len(differences) / 2
    steps = [
        float(stats.t.isf(level, len(values) - 1)) * _sd(values) / math.sqrt(len(values))
        for values in differences
    ]
    return float(np.median(steps))


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


def _comparable(gaps: Gaps) -> Gaps:
    """The rows of which any two share three replicates or more.

    A row that is left alone because none could be compared with it is no such row; a row that never
    had another beside it is.
    """
    left = {row: cells for row, cells in gaps.items() if len(cells) >= FEWEST_REPLICATES}
    alone = len(left) == 1
    while True:
        compared = _differences(left)
        lacking = {row: len(left) - 1 - sum(row in pair for pair in compared) for row in left}
        worst = max(lacking.values(), default=0)
        if worst == 0:
            return left if len(left) > 1 or alone else {}
        left = {row: cells for row, cells in left.items() if lacking[row] < worst}


def _differences(gaps: Gaps) -> dict[Pair, Vector]:
    """First - second over the shared replicates, for each pair that has three or more of them."""
    for row, cells in gaps.items():
        if not all(math.isfinite(gap) for gap in cells.values()):
            raise ValueError(f"row {row!r}: every gap must be finite; got {list(cells.values())}")
    found = {}
    for first, second in combinations(gaps, 2):
        shared = [replicate for replicate in gaps[first] if replicate in gaps[second]]
        if len(shared) >= FEWEST_REPLICATES:
            pairs = [gaps[first][replicate] - gaps[second][replicate] for replicate in shared]
            found[first, second] = np.array(pairs, dtype=np.float64).round(DECIMALS)
    return found


def _sd(values: Vector) -> float:
    """The sample's standard deviation, exactly 0 for values that are all the same."""
    return float(np.std(values, ddof=1)) if np.ptp(values) else 0.0


def _t_test(differences: Vector) -> float:
    sd, n = _sd(differences), len(differences)
    if sd == 0:
        return 0.0 if differences[0] else 1.0
    t = abs(float(differences.mean())) / (sd / math.sqrt(n))
    return float(2 * stats.t.sf(t, n - 1))
