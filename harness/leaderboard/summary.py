"""A sample as a page reports it: its mean, its spread and the interval of the mean. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from harness.specs.protocol import CONFIDENCE


@dataclass(frozen=True)
class Summary:
    """A sample's mean, its spread and the mean's 95 % t-interval; of one value only the mean."""

    mean: float
    sd: float | None
    """The sample's own: n - 1 in the denominator."""
    low: float | None
    high: float | None
    n: int


def summarise(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and the 95 % t-interval of the mean.

    Raises ValueError for an empty sample.
    """
    n = len(values)
    if n == 0:
        raise ValueError("a summary needs at least one value")
    mean = float(np.mean(values))
    if n == 1:
        return Summary(mean, None, None, None, 1)
    sd = float(np.std(values, ddof=1))
    half = _quantile(n - 1) * sd / math.sqrt(n)
    return Summary(mean, sd, mean - half, mean + half, n)


@cache
def _quantile(degrees: int) -> float:
    """Student's t that a two-sided interval reaches to."""
    from scipy import special  # noqa: PLC0415 - only a page's numbers need scipy

    return float(special.stdtrit(degrees, (1 + CONFIDENCE) / 2))
