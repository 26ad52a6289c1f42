"""Log densities and tails of laws fitted to the margins of a few models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Law = Literal["student", "example", "pooled"]

MANY_MODELS = 64
"""From so many models on, each example's own variance is the default."""
SMALLEST_SCALE = 1e-6
"""The floor of every standard deviation, in units of the margin, so that scores stay finite."""
PRIOR_STRENGTH = 2.0
"""The prior's shape a0: it weighs as much as 2 a0 models."""
SMALLEST_PROBABILITY = 1e-290
"""Below it, Student's distribution function is close to underflow."""


@dataclass(frozen=True, eq=False)
class Fit:
    """How the margins of one side's models are distributed; the arrays broadcast."""

    count: Array
    """How many models, at least 1."""
    centre: Array
    variance: Array
    """Biased: the mean square around the mean."""
    pooled: Array
    """The unbiased variance within examples, over all of them."""


def default_law(models: int) -> Law:
    """Student's law for fewer than 64 models, each example's own normal law from there on."""
    return "student" if models < MANY_MODELS else "example"


def pooled_variance(count: Array, variance: Array, *, axis: int) -> Array:
    """The unbiased variance within an example, from all examples along an axis.

    Raises ValueError where every example has a single model.
    """
    freedom = np.sum(np.maximum(count - 1, 0), axis=axis)
    if not np.all(freedom > 0):
        raise ValueError(
            "too few models: no example has two of them on a side, so no variance can be estimated"
        )
    return np.asarray(np.sum(count * variance, axis=axis) / freedom)


def log_density(values: Array, fit: Fit, law: Law) -> Array:
    """The log density of a model's margin, given the others'.

    "example" and "pooled" are normal laws. "student" is the prediction under a normal-inverse-gamma
    prior: with k models and biased variance v, a = a0 + k/2, b = a0 s² + k v/2 and a0 = 2, it is
    Student's law with 2a degrees of freedom and the scale √(b/a (1 + 1/k)); s² is the pooled
    variance.
    """
    standard, scale, freedom = _standardised(values, fit, law)
    if freedom is None:
        return np.asarray(-0.5 * standard**2 - np.log(scale) - 0.5 * math.log(2 * math.pi))
    return np.asarray(_log_t(standard, freedom) - np.log(scale))


def log_tail(values: Array, fit: Fit, law: Law) -> Array:
    """The log probability of a smaller margin, under the same laws."""
    from scipy import special  # noqa: PLC0415 - only these laws need scipy

    standard, _, freedom = _standardised(values, fit, law)
    if freedom is None:
        return np.asarray(special.log_ndtr(standard))
    tail = special.stdtr(freedom, -np.abs(standard))
    lower = np.log(np.maximum(tail, SMALLEST_PROBABILITY))
    far = tail < SMALLEST_PROBABILITY
    if far.any():  # the first term of the tail's asymptotic series
        distance = np.where(far, np.abs(standard), 1.0)
        lower = np.where(far, _log_t(distance, freedom) + np.log(distance / freedom), lower)
    return np.asarray(np.where(standard < 0, lower, np.log1p(-tail)))


def _standardised(values: Array, fit: Fit, law: Law) -> tuple[Array, Array, Array | None]:
    """The distance from the centre in scales, the scale, and Student's degrees of freedom."""
    freedom = None
    if law == "student":
        shape = PRIOR_STRENGTH + fit.count / 2
        variance = (PRIOR_STRENGTH * fit.pooled + fit.count * fit.variance / 2) / shape
        variance, freedom = variance * (1 + 1 / fit.count), 2 * shape
    elif law in ("example", "pooled"):
        variance = fit.variance if law == "example" else fit.pooled
    else:
        raise ValueError(f"law must be 'student', 'example' or 'pooled'; got {law!r}")
    scale = np.maximum(np.sqrt(variance), SMALLEST_SCALE)
    return (values - fit.centre) / scale, scale, freedom


def _log_t(standard: Array, freedom: Array) -> Array:
    from scipy import special  # noqa: PLC0415 - only these laws need scipy

    constant = special.gammaln((freedom + 1) / 2) - special.gammaln(freedom / 2)
    spread = 0.5 * np.log(freedom * math.pi)
    return np.asarray(constant - spread - (freedom + 1) / 2 * np.log1p(standard**2 / freedom))
