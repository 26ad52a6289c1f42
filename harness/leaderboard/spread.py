"""Estimates with their intervals, and the noise of retraining: pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.specs.protocol import CONFIDENCE

SIGNIFICANCE = 0.05
FEWEST_REPLICATES = 3
"""With fewer nobody can tell whether a scenario discriminates."""
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


def _sd(values: Vector) -> float:
    """The sample's standard deviation, exactly 0 for values that are all the same."""
    return float(np.std(values, ddof=1)) if np.ptp(values) else 0.0
