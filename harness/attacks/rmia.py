"""RMIA: how much likelier the model under test finds a label than reference models do.

An RMIA score is a rank of the ratio r = p_target / p_reference. The headline is the log-ratio
itself: it orders samples as the published count does, but never saturates. The count, the vote over
queries and the released codes' variants are here for parity.

``harness.attacks.signals`` computes signals from logits, and ``harness.attacks.references`` p(x)
from the references' signals, once a pool. ``(n, q)`` stands for q queries (augmented views) a
sample.

Zarifzadeh et al. 2024, https://arxiv.org/abs/2312.03262; released as
https://github.com/privacytrustlab/ml_privacy_meter, ``research/2024_rmia`` and ``modules/mia``.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.attacks.references import Space, reference_signal
from harness.attacks.signals import taylor_soft_margin

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
OwnSample = Literal["excluded", "released"]

VOTERS = 256
"""Samples whose votes are counted at once; against 60,000 others they take 31 MB."""


def log_ratio(target: ArrayLike, reference: ArrayLike) -> Array:
    """RMIA's headline score ``(n,)``: log p_target(x) − log p(x), the mean over queries if any.

    ``target`` holds the log-signals of the model under test and ``reference`` what
    ``reference_signal`` gives, both ``(n,)`` or ``(n, q)``. It is −∞ where only the target has
    probability 0, +∞ where only the references have, and 0 where both have. This is also BASE's
    score, https://arxiv.org/abs/2505.24089.
    """
    own, others = np.asarray(target, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if own.shape != others.shape or own.ndim not in {1, 2}:
        raise ValueError(
            f"target and reference must both be (n,) or (n, q); got {own.shape} and {others.shape}"
        )
    with np.errstate(invalid="ignore"):
        ratios = np.where((own == -np.inf) & (others == -np.inf), 0.0, own - others)
        score: Array = ratios if ratios.ndim == 1 else ratios.mean(axis=1)
    _refuse_nan("the log-ratios", score)
    return score


def count(
    ratios: ArrayLike,
    population: ArrayLike,
    *,
    gamma: float = 2.0,
    space: Space = "log",
    own_sample: OwnSample = "excluded",
) -> Array:
    """RMIA's published score ``(n,)`` in [0, 1]: the share of the population with r_x / r_z > γ.

    ``ratios`` is ``(n,)``: log-ratios, or signed ratios in the space ``linear`` (a Taylor signal
    may be negative). ``population`` is an ``(n,)`` mask of bool; to compare with a population of
    its own, append its ratios. A sample of the population is not compared with itself, so its share
    is of |Z| − 1 samples, as in AMUN. ``released`` is what RMIA's released code computes instead,
    (count + 1) / (|Z| − 1), which favours the population's samples. It takes O(n log n).
    """
    values, mask = _checked(ratios, population, gamma, space, own_sample)
    if values.ndim != 1:
        raise ValueError(f"ratios must be (n,), for queries see vote; got {values.shape}")
    limits = _limits(values, gamma, space)
    pool = values[mask]
    negative = np.signbit(pool) if space == "linear" else np.zeros(len(pool), dtype=np.bool_)
    higher = np.sort(pool[~negative]).searchsorted(limits, side="left").astype(np.float64)
    if negative.any():  # dividing by a negative ratio turns the comparison round
        below = np.sort(pool[negative])
        higher += len(below) - below.searchsorted(limits, side="right")
    if gamma < 1:
        higher -= mask & _beats(limits, values, space)
    return _shares(higher, mask, own_sample)


def vote(
    ratios: ArrayLike,
    population: ArrayLike,
    *,
    gamma: float = 2.0,
    space: Space = "log",
    own_sample: OwnSample = "excluded",
) -> Array:
    """``count`` where a sample of the population is beaten in more than half of the queries.

    ``ratios`` is ``(n, q)``; a tie of the queries is no win. It takes O(n·|Z|·q): a sort cannot
    replace the comparison of all pairs.
    """
    values, mask = _checked(ratios, population, gamma, space, own_sample)
    if values.ndim != 2:
        raise ValueError(f"ratios must be (n, q), for one query see count; got {values.shape}")
    limits = _limits(values, gamma, space)
    pool, queries = np.ascontiguousarray(values[mask].T), values.shape[1]
    higher = np.empty(len(values))
    for start in range(0, len(values), VOTERS):
        block = limits[start : start + VOTERS]
        votes = np.zeros((len(block), pool.shape[1]), dtype=np.int16)
        for query in range(queries):
            votes += _beats(block[:, query, None], pool[query], space)
        higher[start : start + VOTERS] = np.count_nonzero(2 * votes > queries, axis=1)
    own = 2 * np.count_nonzero(_beats(limits, values, space), axis=1) > queries
    return _shares(higher - (mask & own), mask, own_sample)


def amun(target: ArrayLike, references: ArrayLike, labels: ArrayLike) -> Array:
    """RMIA as AMUN's released evaluation computes it, for parity; ``(n,)`` in [0, 1].

    ``target`` is ``(n, c)`` and ``references`` ``(k, n, c)``, both logits of the whole pool of
    train and test set, whose samples are each other's population. The signal is taylor-soft-margin,
    p(x) the mean over all references, IN or OUT, and γ = 2. The released code computes in float32,
    which moves a signal by up to 1e-4 where the terms of its series cancel.

    https://github.com/Ali-E/AMUN, ``rmia_evaluate.py``
    """
    reference = reference_signal(taylor_soft_margin(references, labels), space="linear")
    ratios = _quotient(taylor_soft_margin(target, labels), reference)
    return count(ratios, np.ones(len(ratios), dtype=np.bool_), gamma=2.0, space="linear")


def _quotient(target: Array, reference: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios: Array = target / reference
    _refuse_nan("the ratios", ratios)
    return ratios


def _limits(values: Array, gamma: float, space: Space) -> Array:
    """What r_z must stay under, in absolute terms, for r_x / r_z to exceed γ."""
    return values / gamma if space == "linear" else values - np.log(gamma)


def _beats(limits: Array, pool: Array, space: Space) -> Mask:
    """Whether r_x / r_z > γ, where ``limits`` come from r_x and ``pool`` is r_z."""
    if space == "log":
        return pool < limits
    return np.where(np.signbit(pool), pool > limits, pool < limits)


def _shares(higher: Array, population: Mask, own_sample: OwnSample) -> Array:
    """Counts → shares of the population; ``higher`` does not count a sample against itself."""
    size = np.count_nonzero(population)
    extra = float(own_sample == "released")
    share: Array = np.where(population, (higher + extra) / (size - 1), higher / size)
    return share


def _checked(
    ratios: ArrayLike, population: ArrayLike, gamma: float, space: Space, own_sample: OwnSample
) -> tuple[Array, Mask]:
    values, mask = np.asarray(ratios, dtype=np.float64), np.asarray(population)
    if mask.dtype != np.bool_ or mask.shape != values.shape[:1]:
        raise ValueError(
            f"population must be a {values.shape[:1]} mask of bool; got {mask.dtype} {mask.shape}"
        )
    if np.count_nonzero(mask) < 2:
        raise ValueError(f"population must have two samples; got {np.count_nonzero(mask)}")
    if not 0 < gamma < np.inf:
        raise ValueError(f"gamma must be a positive number; got {gamma}")
    if space not in {"log", "linear"}:
        raise ValueError(f"space must be log or linear; got {space!r}")
    if own_sample not in {"excluded", "released"}:
        raise ValueError(f"own_sample must be excluded or released; got {own_sample!r}")
    _refuse_nan("ratios", values)
    return values, mask


def _refuse_nan(name: str, values: Array) -> None:
    missing = np.count_nonzero(np.isnan(values).any(axis=tuple(range(1, values.ndim))))
    if missing:
        raise ValueError(f"{name} must be numbers; those of {missing} of {len(values)} are not")
