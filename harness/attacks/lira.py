"""LiRA: how likely a margin is for models trained with and without the example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.attacks.densities import (
    Array,
    Fit,
    Law,
    default_law,
    log_density,
    log_tail,
    pooled_variance,
)

Mask = NDArray[np.bool_]
Centre = Literal["mean", "median"]

RELEASED_SCALE = 1e-30
"""What the released code adds to every standard deviation."""


def online(
    target: ArrayLike,
    references: ArrayLike,
    inside: ArrayLike,
    *,
    law: Law | None = None,
    centre: Centre = "mean",
) -> Array:
    """Member scores ``(N,)``: the log density under IN models less that under OUT models.

    ``target``: margins φ = log p_y - log Σ_{c≠y} p_c of the model under attack, ``(N,)`` or, with A
    queries an example, ``(N, A)``; the score is the mean over queries. ``references``: the same of
    K models, ``(K, N)`` or ``(K, N, A)``. ``inside``: whether a model was trained on an example,
    ``(K, N)`` bool.

    ``law``: "student", the default below 64 models, is the prediction of a normal-inverse-gamma
    prior around the pooled variance; "example", the default from 64 on, is a normal law with each
    example's own biased variance; "pooled" one with a side's unbiased variance within examples.
    A standard deviation is at least 1e-6, so scores are finite for references that agree.

    Raises ValueError for margins that are not finite, for examples that are IN all or none of the
    models, and for the law "example" where a side has a single model; it counts them.

    Carlini et al. 2022, https://arxiv.org/abs/2112.03570; Student's law:
    https://arxiv.org/abs/2603.11799
    """
    phi, known, mask = _checked(target, references, inside)
    law = law or default_law(len(mask))
    _check_counts(mask, "IN", fewest=1 + (law == "example"))
    _check_counts(~mask, "OUT", fewest=1 + (law == "example"))

    def score(values: Array, models: Array) -> Array:
        members, others = fit(models, mask, centre), fit(models, ~mask, centre)
        return log_density(values, members, law) - log_density(values, others, law)

    return _mean_over_queries(score, phi, known)


def offline(
    target: ArrayLike,
    references: ArrayLike,
    inside: ArrayLike,
    *,
    law: Law | None = None,
    centre: Centre = "mean",
) -> Array:
    """Member scores ``(N,)``, at most 0: the log probability of a smaller margin, by OUT models.

    It is the paper's one-sided test; the released code scores by a two-sided density instead
    (``released_offline``). Arguments and errors are those of ``online``, but only the OUT side is
    fitted, so that an example may be IN none of the models.
    """
    phi, known, mask = _checked(target, references, inside)
    law = law or default_law(len(mask))
    _check_counts(~mask, "OUT", fewest=1 + (law == "example"))
    return _mean_over_queries(
        lambda values, models: log_tail(values, fit(models, ~mask, centre), law), phi, known
    )


def global_threshold(target: ArrayLike) -> Array:
    """Member scores ``(N,)``: the margin itself, ``(N,)`` or ``(N, A)``, as the mean over queries.

    It needs no references; it is the released code's baseline.
    """
    phi = _margins("target", target, (1, 2))
    return phi if phi.ndim == 1 else np.asarray(phi.mean(1))


def released_online(
    target: ArrayLike, references: ArrayLike, inside: ArrayLike, *, fix_variance: bool = False
) -> Array:
    """Member scores ``(N,)`` of the released code, which prints them with the opposite sign.

    Unlike ``online``: medians; normal laws; with ``fix_variance`` one standard deviation over all
    examples, models and queries, of the IN side for both sides; and of each side only the first n
    models of an example, where n is the smallest number of any example.

    https://github.com/tensorflow/privacy/tree/master/research/mi_lira_2021
    """
    phi, known, mask = _checked(target, references, inside)
    members, others = _first(mask, "IN"), _first(~mask, "OUT")
    shared = _spread_of_all(known, members) if fix_variance else None

    def score(values: Array, models: Array) -> Array:
        return _released_density(values, models, members, shared) - _released_density(
            values, models, others, shared
        )

    return _mean_over_queries(score, phi, known)


def released_offline(
    target: ArrayLike, references: ArrayLike, inside: ArrayLike, *, fix_variance: bool = False
) -> Array:
    """Member scores ``(N,)`` of the released code: minus the log density under OUT models.

    Two-sided, so an unusually small margin counts as a sign of membership too; the rest is as in
    ``released_online``.
    """
    phi, known, mask = _checked(target, references, inside)
    others = _first(~mask, "OUT")
    shared = _spread_of_all(known, others) if fix_variance else None
    return _mean_over_queries(
        lambda values, models: -_released_density(values, models, others, shared), phi, known
    )


def fit(models: Array, mask: Mask, centre: Centre = "mean") -> Fit:
    """The law of the masked models' margins, example by example; both are ``(K, N)``."""
    count, mean, variance = _moments(models, mask)
    if centre not in ("mean", "median"):
        raise ValueError(f"centre must be 'mean' or 'median'; got {centre!r}")
    middle = mean if centre == "mean" else _medians(models, mask)
    pooled = pooled_variance(count, variance, axis=0)
    return Fit(count, middle, variance, pooled)


def _moments(models: Array, mask: Mask) -> tuple[Array, Array, Array]:
    count = mask.sum(0).astype(np.float64)
    mean = np.einsum("kn,kn->n", models, mask) / count
    around = np.where(mask, models - mean, 0.0)
    return count, mean, np.einsum("kn,kn->n", around, around) / count


def _medians(models: Array, mask: Mask) -> Array:
    ordered = np.sort(np.where(mask, models, np.inf), axis=0)
    count = mask.sum(0)[None]
    middle = np.concatenate([(count - 1) // 2, count // 2])
    return np.asarray(np.take_along_axis(ordered, middle, axis=0).mean(0))


def _released_density(values: Array, models: Array, mask: Mask, shared: float | None) -> Array:
    scale = (np.sqrt(_moments(models, mask)[2]) if shared is None else shared) + RELEASED_SCALE
    standard = (values - _medians(models, mask)) / scale
    return np.asarray(-(standard**2) / 2 - np.log(scale) - np.log(2 * np.pi) / 2)


def _spread_of_all(known: Array, mask: Mask) -> float:
    return float(np.std(known[mask]))


def _first(mask: Mask, side: str) -> Mask:
    """The mask of the first models of each example, as many as the example with the fewest has."""
    _check_counts(mask, side, fewest=1)
    fewest = mask.sum(0).min()
    return np.asarray(mask & (np.cumsum(mask, axis=0) <= fewest))


def _mean_over_queries(score: Callable[[Array, Array], Array], phi: Array, known: Array) -> Array:
    if phi.ndim == 1:
        return score(phi, known)
    total = np.zeros(len(phi))
    for query in range(phi.shape[1]):
        total += score(phi[:, query], known[:, :, query])
    return np.asarray(total / phi.shape[1])


def _checked(
    target: ArrayLike, references: ArrayLike, inside: ArrayLike
) -> tuple[Array, Array, Mask]:
    phi = _margins("target", target, (1, 2))
    known = _margins("references", references, (phi.ndim + 1,))
    if known.shape[1:] != phi.shape:
        raise ValueError(
            f"references must be (K, {', '.join(map(str, phi.shape))}) beside a target of "
            f"{phi.shape}; got {known.shape}"
        )
    mask = np.asarray(inside)
    if mask.dtype != np.bool_ or mask.shape != known.shape[:2]:
        raise ValueError(
            f"inside must be bool of shape {known.shape[:2]} (of a state: state != 0); "
            f"got {mask.dtype} of {mask.shape}"
        )
    return phi, known, mask


def _margins(name: str, values: ArrayLike, dimensions: tuple[int, ...]) -> Array:
    margins = np.asarray(values, dtype=np.float64)
    if margins.ndim not in dimensions or not margins.size:
        allowed = " or ".join(map(str, dimensions))
        raise ValueError(f"{name} must have {allowed} axes and no empty one; got {margins.shape}")
    infinite = np.count_nonzero(~np.isfinite(margins))
    if infinite:
        raise ValueError(f"{name} must be finite; {infinite} of {margins.size} values are not")
    return margins


def _check_counts(mask: Mask, side: str, *, fewest: int) -> None:
    short = np.count_nonzero(mask.sum(0) < fewest)
    if short:
        raise ValueError(
            f"every example must be {side} in at least {fewest} of the {len(mask)} references; "
            f"{short} of {mask.shape[1]} are not"
        )
