"""A pure function that summarises an attack's scores for the pictures of a page."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.protocols.estimates import Vector, members_found
from harness.specs.score_summary import BINS, FPRS, ScoreSummary


def summarise_scores(
    members: ArrayLike, nonmembers: ArrayLike, low: float, high: float
) -> ScoreSummary:
    """The step ROC of the scores (m,) and (n,) at the rates of ``FPRS``, and their histograms.

    A higher score means member. At each rate stands the largest TPR whose FPR is at most the rate,
    without interpolation. The histograms have equal bins from ``low`` to ``high``; scores outside,
    -inf and inf too, are counted in the first or last bin. Raises ValueError for NaN, and where
    either side is empty.
    """
    if not low < high:
        raise ValueError(f"low must be below high; got {low}, {high}")
    inside, outside = _vector("members", members), _vector("nonmembers", nonmembers)
    found = members_found(inside, outside, FPRS)
    return ScoreSummary(
        tpr=tuple((found / len(inside)).tolist()),
        low=low,
        high=high,
        members=_counts(inside, low, high),
        nonmembers=_counts(outside, low, high),
    )


def _vector(name: str, values: ArrayLike) -> Vector:
    scores: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or not len(scores):
        raise ValueError(f"{name}: expected scores of shape (n,), n at least 1; got {scores.shape}")
    missing = int(np.isnan(scores).sum())
    if missing:
        raise ValueError(f"{name}: scores must not be NaN; {missing} of {len(scores)} are")
    return scores


def _counts(scores: Vector, low: float, high: float) -> tuple[int, ...]:
    counts, _ = np.histogram(scores.clip(low, high), BINS, range=(low, high))
    return tuple(counts.tolist())
