"""A sample as a page reports it: its mean, its spread and the interval of the mean. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from harness.leaderboard.clusters import mean_error
from harness.leaderboard.grouping import ReplicateKey
from harness.specs.protocol import CONFIDENCE


@dataclass(frozen=True)
class Summary:
    """A sample's mean, its spread and the mean's 95 % t-interval; of one value only the mean.

    There is no interval either if all replicates share a model or a forget set. A value that all
    replicates share has the interval that was measured with it.
    """

    mean: float
    sd: float | None
    """The sample's own: n - 1 in the denominator."""
    low: float | None
    high: float | None
    n: int


def summarise(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and the 95 % t-interval of the mean of independent values.

    Raises ValueError for an empty sample.
    """
    return summarise_replicates({(i, i): value for i, value in enumerate(values)})


def summarise_replicates(values: Mapping[ReplicateKey, float]) -> Summary:
    """The same over replicates, with the interval that ``clusters.mean_error`` gives.

    Raises ValueError for an empty sample.
    """
    n = len(values)
    if n == 0:
        raise ValueError("a summary needs at least one value")
    sample = np.array([*values.values()], dtype=np.float64)
    mean = float(sample.mean())
    if n == 1:
        return Summary(mean, None, None, None, 1)
    sd = float(sample.std(ddof=1))
    half = half_width(values)
    if half is None:
        return Summary(mean, sd, None, None, n)
    return Summary(mean, sd, mean - half, mean + half, n)


def half_width(
    values: Mapping[ReplicateKey, float], confidence: float = CONFIDENCE
) -> float | None:
    """Half the width of the mean's t-interval over replicates; none where nothing tells."""
    found = mean_error(np.array([*values.values()], dtype=np.float64), [*values])
    if found is None:
        return None
    return _quantile(float(found.degrees), confidence) * float(found.error)


@cache
def _quantile(degrees: float, confidence: float) -> float:
    """Student's t that a two-sided interval reaches to."""
    from scipy import special  # noqa: PLC0415 - only a page's numbers need scipy

    return float(special.stdtrit(degrees, (1 + confidence) / 2))
