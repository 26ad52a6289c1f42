"""Standard errors of means over replicates, which may share models and forget sets. Pure.

Replicates may cross models with forget sets: each pair of the two is a replicate. Two that share
either are not independent, so the plain standard error would be too small.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.leaderboard.grouping import ReplicateKey

Floats = NDArray[np.float64]


class MeanError(NamedTuple):
    """How precisely a mean is known, for each of several samples (…)."""

    error: Floats
    """The standard error."""
    degrees: Floats
    """Degrees of freedom of the t-distribution that belongs to it."""


def counts(replicates: Collection[ReplicateKey]) -> tuple[int, int]:
    """The numbers of models and of forget sets."""
    models, forget_sets = ({key[i] for key in replicates} for i in (0, 1))
    return len(models), len(forget_sets)


def independent(replicates: Collection[ReplicateKey]) -> int:
    """The number of models or of forget sets, whichever is smaller.

    It equals the number of replicates if no two share anything.
    """
    return min(counts(replicates))


def are_crossed(replicates: Collection[ReplicateKey]) -> bool:
    """Whether any two replicates share a model or a forget set."""
    return counts(replicates) != (len(replicates), len(replicates))


def mean_error(values: Floats, replicates: Sequence[ReplicateKey]) -> MeanError | None:
    """The standard error of the mean of ``values`` (…, n), one for each of n distinct replicates.

    - Independent replicates: SD/√n, with n - 1 degrees of freedom.
    - All pairs of m models and f forget sets: two-way random effects. Of the mean squares between
      models A, between forget sets B, and of the residual E, the variance is A + B - E, but at
      least each of the three, over m·f; the degrees of freedom are Satterthwaite's. In
      ``tests/benchmarks/crossed_coverage.py`` the 95 % t-interval covers the true mean of 3 × 3
      replicates in 94.7 to 99.6 % of samples, depending on the shares of the three; with
      min(m, f) - 1 degrees in 96.3 to 99.9 %, but it is up to a third wider; the plain interval
      over all replicates in 65 to 95 %.
    - Some of these pairs: the variance between the models' means, over m, plus that between the
      forget sets' means, over f, with min(m, f) - 1 degrees of freedom. This is too large rather
      than too small: with 4, 6 or 8 of 3 × 3 pairs the interval covers in 96.8 to 99.6 %.

    None if there is one model or one forget set: nothing then tells how much others would differ.
    """
    models, forget_sets = counts(replicates)
    if min(models, forget_sets) < 2:
        return None
    n = len(replicates)
    if not are_crossed(replicates):
        error = values.std(axis=-1, ddof=1) / np.sqrt(n)
        return MeanError(error, np.full_like(error, n - 1))
    if n == models * forget_sets:
        order = sorted(range(n), key=lambda i: replicates[i])
        return _two_way(values[..., order].reshape(*values.shape[:-1], models, forget_sets))
    parts = [_level_means(values, [key[i] for key in replicates]) for i in (0, 1)]
    variance = sum(means.var(axis=-1, ddof=1) / means.shape[-1] for means in parts)
    error = np.sqrt(variance)
    return MeanError(error, np.full_like(error, min(models, forget_sets) - 1))


def _two_way(table: Floats) -> MeanError:
    """The standard error for a full crossing (…, models, forget sets)."""
    m, f = table.shape[-2:]
    by_model, by_forget = table.mean(axis=-1), table.mean(axis=-2)
    mean = table.mean(axis=(-2, -1))[..., None]
    residual = table - by_model[..., :, None] - by_forget[..., None, :] + mean[..., None]
    freedoms = np.array([m - 1, f - 1, (m - 1) * (f - 1)], dtype=np.float64)
    squares = np.stack(
        [
            f * ((by_model - mean) ** 2).sum(axis=-1),
            m * ((by_forget - mean) ** 2).sum(axis=-1),
            (residual**2).sum(axis=(-2, -1)),
        ],
        axis=-1,
    )
    means = squares / freedoms
    together = means @ np.array([1.0, 1.0, -1.0])
    largest = means.max(axis=-1)
    spread = (means**2 / freedoms).sum(axis=-1)
    varies = largest > 0
    satterthwaite = together**2 / np.where(varies, spread, 1.0)
    degrees = np.where(
        varies & (together >= largest), satterthwaite, freedoms[means.argmax(axis=-1)]
    )
    return MeanError(np.sqrt(np.maximum(together, largest) / (m * f)), degrees)


def _level_means(values: Floats, levels: Sequence[int]) -> Floats:
    """(…, number of levels): the mean of the replicates of each level."""
    at = np.array(levels)
    return np.stack(
        [values[..., at == level].mean(axis=-1) for level in sorted({*levels})], axis=-1
    )
