"""Signals of a sample's own label, computed from logits: what the attacks compare."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.intp]

BLOCK = 2**18
"""Logits that are computed at once: 2 MB, about what a processor's cache holds."""


def logit_scaling(logits: ArrayLike, labels: ArrayLike) -> Array:
    """``log p_y − log Σ_{c≠y} p_c``, computed without probabilities; ``(n,)`` or ``(k, n)``.

    ``logits`` is ``(n, c)``, or ``(k, n, c)`` for k models; ``labels`` is ``(n,)``. This holds for
    every function here. A probability that rounds to 0 or 1 still gives a finite value; ±∞ is left
    to logits whose differences exceed float64. Raises ValueError for logits that are not finite.

    Carlini et al. 2022, https://arxiv.org/abs/2112.03570
    """
    return per_sample(logits, labels, _gap)


def released_logit_scaling(logits: ArrayLike, labels: ArrayLike) -> Array:
    """``logit_scaling`` as LiRA's released code has it, for parity.

    It adds 1e-45 to both probabilities, so the value lies within ±103.7, and samples whose
    probability rounds to 1 are tied. Here all is float64. The released code takes exponentials in
    the precision of its logits, float32: 1e-7 apart.
    """
    return per_sample(logits, labels, _released_gap)


def log_probability(
    logits: ArrayLike, labels: ArrayLike, *, temperature: float = 1.0, margin: float = 0.0
) -> Array:
    """The log-probability of the own label, at most 0; ``(n,)`` or ``(k, n)``.

    Logits are divided by ``temperature``; then ``margin`` is taken off the own label's, which makes
    RMIA's signal ``soft-margin``. Samples whose probability rounds to 0 or 1 keep their order.
    """
    _positive("temperature", temperature)

    def signal(rows: Array, own: Labels) -> Array:
        return 0.0 - np.logaddexp(0.0, margin - _gap(rows / temperature, own))

    return per_sample(logits, labels, signal)


def probability(
    logits: ArrayLike, labels: ArrayLike, *, temperature: float = 1.0, margin: float = 0.0
) -> Array:
    """The exponential of ``log_probability``, in [0, 1]: RMIA's ``softmax`` or ``soft-margin``."""
    found: Array = np.exp(log_probability(logits, labels, temperature=temperature, margin=margin))
    return found


def taylor(logits: ArrayLike, labels: ArrayLike, *, terms: int = 4) -> Array:
    """A softmax whose exponential is its Taylor series of ``terms`` terms; ``(n,)`` or ``(k, n)``.

    A series of four terms is a cubic: it is negative below −1.6, so the values leave [0, 1] and may
    be negative. RMIA's released code computes them so, and ignores its temperature here. Raises
    ValueError for samples whose series overflow or add up to 0.

    Zarifzadeh et al. 2024, https://arxiv.org/abs/2312.03262
    """
    return _taylor(logits, labels, temperature=1.0, margin=0.0, terms=terms)


def taylor_soft_margin(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    temperature: float = 2.0,
    margin: float = 0.6,
    terms: int = 4,
) -> Array:
    """``taylor`` of logits over ``temperature``, with ``margin`` taken off the own label's.

    The defaults are those of RMIA's paper on CIFAR-10 and of AMUN.
    """
    _positive("temperature", temperature)
    return _taylor(logits, labels, temperature=temperature, margin=margin, terms=terms)


def per_sample(
    logits: ArrayLike, labels: ArrayLike, signal: Callable[[Array, Labels], Array]
) -> Array:
    """``signal`` of all samples: it gets ``(rows, c)`` float64 logits and ``(rows,)`` labels.

    Blocks of rows keep the memory linear in the samples, whatever the number of classes. Returns
    ``(n,)``, or ``(k, n)`` for logits of k models.
    """
    values, own = _checked(logits, labels)
    shape = values.shape[:-1]
    found, broken = np.empty(shape), np.zeros(shape[-1], dtype=np.bool_)
    step = max(1, BLOCK // values.shape[-1])
    for model in np.ndindex(*shape[:-1]):
        for start in range(0, shape[-1], step):
            at = slice(start, start + step)
            rows = values[model][at].astype(np.float64)
            if np.isfinite(rows).all():
                with np.errstate(over="ignore", divide="ignore"):
                    found[model][at] = signal(rows, own[at])
            else:
                broken[at] |= ~np.isfinite(rows).all(axis=1)
    if broken.any():
        raise ValueError(
            f"logits must be finite; those of {np.count_nonzero(broken)} of {len(broken)} "
            "samples are not"
        )
    return found


def log_softmax(rows: Array) -> Array:
    """``(n, c)`` log-probabilities of ``(n, c)`` logits; −∞ where differences exceed float64."""
    shifted: Array = rows - rows.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def _gap(rows: Array, own: Labels) -> Array:
    """The own logit less the log-sum-exp of all others."""
    at = np.arange(len(rows)), own
    mine, others = rows[at], rows.copy()
    others[at] = -np.inf
    top = others.max(axis=1)
    others -= top[:, None]
    gap: Array = mine - top - np.log(np.exp(others, out=others).sum(axis=1))
    return gap


def _released_gap(rows: Array, own: Labels) -> Array:
    at = np.arange(len(rows)), own
    p = np.exp(rows - rows.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    right = p[at]
    p[at] = 0
    gap: Array = np.log(right + 1e-45) - np.log(p.sum(axis=1) + 1e-45)
    return gap


def _taylor(
    logits: ArrayLike, labels: ArrayLike, *, temperature: float, margin: float, terms: int
) -> Array:
    if terms < 2:
        raise ValueError(f"terms must be at least 2; got {terms}")

    def signal(rows: Array, own: Labels) -> Array:
        at = np.arange(len(rows)), own
        rows = rows / temperature
        rows[at] -= margin
        with np.errstate(invalid="ignore"):
            series = _series(rows, terms)
            share: Array = series[at] / series.sum(axis=1)
        return share

    found = per_sample(logits, labels, signal)
    finite: NDArray[np.bool_] = np.isfinite(np.atleast_2d(found))
    broken = np.flatnonzero(~finite.all(axis=0))
    if len(broken):
        raise ValueError(
            f"{len(broken)} of {found.shape[-1]} samples have no Taylor signal: their "
            "series overflow or add up to 0; use log_probability"
        )
    return found


def _series(values: Array, terms: int) -> Array:
    """``Σ_{i<terms} values^i / i!``, by Horner's scheme."""
    series = np.ones_like(values)
    for i in range(terms - 1, 0, -1):
        series *= values / i
        series += 1
    return series


def _checked(logits: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.floating], Labels]:
    values, own = np.asarray(logits), np.asarray(labels)
    if values.ndim not in {2, 3} or values.shape[-1] < 2:
        raise ValueError(
            f"logits must be (n, c) or (k, n, c) with at least two classes; got {values.shape}"
        )
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"logits must be floating-point numbers; got {values.dtype}")
    samples, classes = values.shape[-2:]
    if own.shape != (samples,):
        raise ValueError(f"labels must be ({samples},), one a sample; got {own.shape}")
    if not np.issubdtype(own.dtype, np.integer):
        raise ValueError(f"labels must be integers; got {own.dtype}")
    outside = np.count_nonzero((own < 0) | (own >= classes))
    if outside:
        raise ValueError(f"labels must be in [0, {classes}); {outside} of {samples} are not")
    return values, own.astype(np.intp)


def _positive(name: str, value: float) -> None:
    if not 0 < value < np.inf:
        raise ValueError(f"{name} must be a positive number; got {value}")
