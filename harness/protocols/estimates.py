"""Pure functions that estimate shares, AUC and TPR, with intervals and tests, from scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.specs.protocol import CONFIDENCE, Estimate
from harness.specs.score_summary import FEWEST_FALSE_POSITIVES

Vector = NDArray[np.float64]
SIGNIFICANCE = 0.05
"""The level of each of the two one-sided tests of equivalence, and so of a 90 % interval."""


@dataclass(frozen=True)
class Equivalence:
    """Whether an AUC is practically the same as a null value; AUCs here are shares in [0, 1]."""

    verdict: str
    """"equivalent", "not equivalent" or "underpowered at n = …": then neither pass nor fail."""
    p_value: float | None
    """The larger of the two one-sided tests'; None where there is no interval."""
    low: float | None
    """The AUC's 90 % interval, not clipped."""
    high: float | None

    def estimate(self) -> Estimate:
        """The p value, or none where the test is underpowered, with that as its note."""
        if self.verdict.startswith("underpowered"):
            return Estimate(None, note=self.verdict)
        return Estimate(self.p_value)


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
    value, error = _auc(positive, negative)
    n = len(positive) + len(negative)
    if error is None:
        return Estimate(100 * value, n=n)
    return _interval(_Auc(value, error, math.inf, n))


def clustered_auc(
    scores: ArrayLike, members: ArrayLike, models: ArrayLike, samples: ArrayLike
) -> Estimate:
    """The AUC in percent of scores that are not independent, with an interval; n counts them.

    All are ``(S,)``: scores, whether each is a member's, and the model and the sample that it comes
    from, any integers. DeLong's placements are summed by sample and by model; the variance is that
    of the samples' sums, plus what that of the models' exceeds independent scores' by, and
    Student's quantile is for K models. Scores of one sample depend on each other, since U-LiRA's
    models are fitted to each other: over perfect unlearners a t interval of the models' own AUCs
    covers 0.5 in only 83 to 91 % of cases, this one in 95 to 99 % for K = 16 and 32, and nearly
    always for fewer. Where leakage differs strongly between models it covers the AUC in 85, 90, 92
    and 94 % of cases for K = 4, 8, 16 and 32.

    Cameron, Gelbach & Miller 2011, https://doi.org/10.1198/jbes.2010.07136
    """
    found = _clustered(scores, members, models, samples)
    if isinstance(found, str):
        return Estimate(None, note=found)
    return _interval(found)


def equivalence(
    members: ArrayLike, nonmembers: ArrayLike, *, margin: float = 0.02, null: float = 0.5
) -> Equivalence:
    """Tests whether the AUC is within ``margin`` of ``null``, both shares: two one-sided tests.

    "equivalent" where DeLong's 90 % interval of the AUC is inside ``null`` ± ``margin``.
    "underpowered" where an attack at chance would have a wider interval than the margin allows,
    1.645 √((m + n + 1) / (12 m n)) > ``margin``, below about 1,130 a side at 0.02; its n is the
    smaller side's. Raises ValueError for scores that are not finite.

    Schuirmann 1987, https://doi.org/10.1007/BF01068419
    """
    positive, negative = _scores(members), _scores(nonmembers)
    m, n = len(positive), len(negative)
    if min(m, n) < 2:
        return Equivalence(f"underpowered at n = {min(m, n)}", None, None, None)
    value, error = _auc(positive, negative)
    assert error is not None
    at_chance = math.sqrt((m + n + 1) / (12 * m * n))
    return _tested(_Auc(value, error, math.inf, min(m, n)), at_chance, margin, null)


def clustered_equivalence(
    scores: ArrayLike,
    members: ArrayLike,
    models: ArrayLike,
    samples: ArrayLike,
    *,
    margin: float = 0.02,
    null: float = 0.5,
) -> Equivalence:
    """The test of ``equivalence`` with the interval of ``clustered_auc``.

    "underpowered" where that interval itself is wider than the margin allows; its n counts scores.
    """
    found = _clustered(scores, members, models, samples)
    if isinstance(found, str):
        return Equivalence("underpowered at n = 0", None, None, None)
    return _tested(found, found.error, margin, null)


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
    found = int(members_found(positive, negative, [fpr])[0])
    return _share(found, len(positive), method="exact")


def members_found(members: Vector, nonmembers: Vector, rates: Sequence[float]) -> NDArray[np.int64]:
    """How many members the step ROC finds at most, at an FPR of at most each of the rates.

    Members (m,) and non-members (n,), n at least 1, without NaN; one count per rate in (0, 1]. A
    threshold takes all scores that equal it, so nothing is interpolated.
    """
    n = len(nonmembers)
    allowed = np.floor(np.round(np.multiply(rates, n), 9)).astype(
        np.int64
    )  # beyond float64's noise
    first_excluded = np.sort(nonmembers)[::-1][np.minimum(allowed, n - 1)]
    above = len(members) - np.searchsorted(np.sort(members), first_excluded, side="right")
    return np.where(allowed < n, above, len(members))


def _share(successes: int, n: int, *, method: Literal["wilson", "exact"]) -> Estimate:
    from scipy import stats

    interval = stats.binomtest(successes, n).proportion_ci(CONFIDENCE, method=method)
    return Estimate(100 * successes / n, 100 * float(interval.low), 100 * float(interval.high), n)


class _Auc(NamedTuple):
    """An AUC as a share, its standard error, and Student's degrees of freedom."""

    value: float
    error: float
    freedom: float
    n: int


def _auc(members: Vector, nonmembers: Vector) -> tuple[float, float | None]:
    """The AUC as a share and DeLong's standard error; none if a side has a single point."""
    wins, losses = _placements(members, nonmembers)
    if min(len(wins), len(losses)) < 2:
        return float(wins.mean()), None
    variance = float(np.var(wins, ddof=1) / len(wins) + np.var(losses, ddof=1) / len(losses))
    return float(wins.mean()), math.sqrt(variance)


def _clustered(
    scores: ArrayLike, members: ArrayLike, models: ArrayLike, samples: ArrayLike
) -> _Auc | str:
    """The AUC of scores in crossed clusters, or why there is none."""
    values, member = _scores(scores), np.asarray(members)
    if member.dtype != np.bool_ or member.shape != values.shape:
        raise ValueError(
            f"members must be bool of shape {values.shape}; got {member.dtype} of {member.shape}"
        )
    missing = _missing(values[member], values[~member])
    if missing:
        return missing
    wins, losses = _placements(values[member], values[~member])
    value = float(wins.mean())
    influence = np.empty(len(values))
    influence[member] = (wins - value) / len(wins)
    influence[~member] = (losses.mean() - losses) / len(losses)
    by_model, rows = _squared_sums(influence, models)
    by_sample, columns = _squared_sums(influence, samples)
    if min(rows, columns) < 2:
        return f"too few models ({rows}) or samples ({columns}) for an interval"
    excess = max(0.0, by_model - float(influence @ influence))
    return _Auc(value, math.sqrt(by_sample + excess), rows - 1, len(values))


def _squared_sums(influence: Vector, clusters: ArrayLike) -> tuple[float, int]:
    """The sum of the clusters' squared sums, for their number of freedom, and that number."""
    names, place = np.unique(np.asarray(clusters), return_inverse=True)
    if place.shape != influence.shape:
        raise ValueError(f"clusters must be {influence.shape}, as scores are; got {place.shape}")
    sums = np.bincount(place, influence)
    number = len(names)
    return float(sums @ sums) * number / max(number - 1, 1), number


def _interval(auc: _Auc) -> Estimate:
    value = 100 * auc.value
    half = 100 * _quantile((1 - CONFIDENCE) / 2, auc.freedom) * auc.error
    return Estimate(value, max(0.0, value - half), min(100.0, value + half), auc.n)


def _tested(auc: _Auc, error_at_chance: float, margin: float, null: float) -> Equivalence:
    if not 0 < margin < 1 or not 0 <= null <= 1:
        raise ValueError(f"margin must be in (0, 1) and null in [0, 1]; got {margin} and {null}")
    from scipy import stats

    quantile = _quantile(SIGNIFICANCE, auc.freedom)
    inside = margin - abs(auc.value - null)
    p = float(stats.t.sf(inside / auc.error, auc.freedom)) if auc.error else float(inside <= 0)
    low, high = auc.value - quantile * auc.error, auc.value + quantile * auc.error
    if quantile * error_at_chance > margin:
        return Equivalence(f"underpowered at n = {auc.n}", p, low, high)
    return Equivalence("equivalent" if p < SIGNIFICANCE else "not equivalent", p, low, high)


def _quantile(tail: float, freedom: float) -> float:
    from scipy import stats

    return float(stats.norm.isf(tail) if math.isinf(freedom) else stats.t.isf(tail, freedom))


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
