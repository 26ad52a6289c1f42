"""U-LiRA: the likelihood ratio of forgotten against unseen, by replays of the unlearner itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.attacks.densities import (
    Array,
    Fit,
    Law,
    default_law,
    log_density,
    pooled_variance,
)

Mask = NDArray[np.bool_]
Indices = NDArray[np.int64]
LeftOut = Literal["pair", "model", "nothing"]

OUT, RETAIN, FORGET = 0, 1, 2
"""The states of a sample in a model: not trained on, retained, trained on and then forgotten."""


class Scored(NamedTuple):
    """The attack's scores, one a pair of a model and a sample, and where each comes from."""

    scores: Array
    """``(S,)``; higher means forgotten rather than unseen."""
    members: Mask
    """``(S,)``: whether the sample was in this model's forget set."""
    models: Indices
    """``(S,)``: the row of the model."""
    samples: Indices
    """``(S,)``: the column of the sample."""
    left_out: int
    """How many pairs have no score, since too few other models were left on a side."""


@dataclass(frozen=True, eq=False)
class _Side:
    """One side's models, and which of them the fit for a pair leaves out."""

    mask: Mask
    """``(K, A)``: whether the model is on this side for the sample."""
    removed: Indices
    """``(K, A)``: the row that the fit for a pair leaves out; -1 for none."""


def ulira(
    phi: ArrayLike,
    state: ArrayLike,
    *,
    law: Law | None = None,
    left_out: LeftOut = "pair",
) -> Scored:
    """Scores log p_U(φ) - log p_O(φ) of every forgotten and every unseen sample of every model.

    ``phi``: margins ``(K, A)`` of K replays (each after unlearning its own forget set) on A audit
    samples. ``state``: ``(K, A)`` of OUT 0, RETAIN 1, FORGET 2. U is fitted to other models' FORGET
    margins of the sample, O to other models' OUT margins.

    ``left_out``: "pair" fits without the model itself and without one model of the other side (of
    the same rank among its side's models of that sample; in a pool whose models 2j and 2j + 1 share
    a split it is the twin). Both sides then have the same sizes whichever the pair's own side is,
    so that the AUC of a perfect unlearner is 0.5. "model" fits without the model itself alone: the
    smaller side predicts worse, and the same AUC is .38, .47 and .49 for K = 4, 8 and 16 (Student's
    law). "nothing" scores models by their own fits, for teaching only: the AUC of a perfect
    unlearner is .63 with 8 models a side.

    ``law``: as in ``lira.online``: "student" by default below 64 models; "example" is the published
    attack, with at least two models a side; "pooled". The pooled variance is that of a side over
    all models and samples, of which the scored pair is one in very many: four models would leave
    none otherwise. Pairs without the models they need get no score and are counted. Raises
    ValueError for margins that are not finite and where nothing can be scored.

    Kurmanji et al. 2024, https://arxiv.org/abs/2403.01218
    """
    margins, states = _checked(phi, state)
    kind = law or default_law(len(margins))
    unlearned, others = _sides(states, left_out)

    def score() -> Array:
        members, unseen = _fits(margins, unlearned), _fits(margins, others)
        return log_density(margins, members, kind) - log_density(margins, unseen, kind)

    return _scored(unlearned, others, score, fewest=1 + (kind == "example"))


def ruli(
    phi: ArrayLike, state: ArrayLike, *, bandwidth: float = 1.0, left_out: LeftOut = "pair"
) -> Scored:
    """RULI's privacy score f_U / (f_U + f_O) in [0, 1], with Gaussian kernel densities.

    ``bandwidth`` is in units of the margin; 1.0 is the released value (scikit-learn's default).
    Everything else is as in ``ulira``.

    https://arxiv.org/abs/2506.13009
    """
    margins, states = _checked(phi, state)
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be above 0; got {bandwidth}")
    unlearned, others = _sides(states, left_out)

    def score() -> Array:
        ratio = _log_kernels(margins, unlearned, bandwidth) - _log_kernels(
            margins, others, bandwidth
        )
        return 0.5 + 0.5 * np.tanh(ratio / 2)  # the logistic function, without overflow

    return _scored(unlearned, others, score, fewest=1)


def _scored(unlearned: _Side, others: _Side, score: Callable[[], Array], *, fewest: int) -> Scored:
    wanted = unlearned.mask | others.mask
    enough = (_counts(unlearned) >= fewest) & (_counts(others) >= fewest)
    models, samples = np.nonzero(wanted & enough)
    missing = int(np.count_nonzero(wanted & ~enough))
    if not len(models):
        raise ValueError(
            f"no pair can be scored: each of the {missing} needs {fewest} other FORGET and OUT "
            "models of its sample; replay the method on more models"
        )
    scores = score()[models, samples]
    return Scored(scores, unlearned.mask[models, samples], models, samples, missing)


def _sides(state: NDArray[np.int8], left_out: LeftOut) -> tuple[_Side, _Side]:
    if left_out not in ("pair", "model", "nothing"):
        raise ValueError(f"left_out must be 'pair', 'model' or 'nothing'; got {left_out!r}")
    forget, out = state == FORGET, state == OUT
    return _side(forget, out, left_out), _side(out, forget, left_out)


def _side(mask: Mask, other: Mask, left_out: LeftOut) -> _Side:
    removed = np.full(mask.shape, -1, dtype=np.int64)
    if left_out != "nothing":
        removed = np.where(mask, np.arange(len(mask))[:, None], removed)
    if left_out == "pair":
        in_order = np.argsort(~mask, axis=0, kind="stable")
        count = mask.sum(0)
        rank = (np.cumsum(other, axis=0) - 1) % np.maximum(count, 1)
        partner = np.take_along_axis(in_order, rank, axis=0)
        removed = np.where(other & (count > 0), partner, removed)
    return _Side(mask, removed)


def _counts(side: _Side) -> Indices:
    return np.asarray(side.mask.sum(0) - (side.removed >= 0))


def _fits(margins: Array, side: _Side) -> Fit:
    """The laws of a side for each pair, from its sums less what the pair leaves out."""
    all_models = np.maximum(side.mask.sum(0), 1)
    first = np.take_along_axis(margins, side.mask.argmax(0)[None], axis=0)
    # equal margins have a mean and a variance of exactly 0 around the first of them
    shifted = np.where(side.mask, margins - first, 0.0)
    mean = shifted.sum(0) / all_models
    around = np.where(side.mask, shifted - mean, 0.0)
    taken = np.take_along_axis(around, np.maximum(side.removed, 0), axis=0)
    taken = np.where(side.removed >= 0, taken, 0.0)
    left = np.asarray(_counts(side), dtype=np.float64)
    count = np.maximum(left, 1.0)
    moved = -taken / count
    squares = np.sum(around**2, axis=0) - taken**2 - count * moved**2
    variance = np.maximum(squares, 0.0) / count
    variance = np.where(left > 1, variance, 0.0)
    pooled = pooled_variance(all_models, (around**2).sum(0) / all_models, axis=0)
    return Fit(count, first + mean + moved, variance, pooled)


def _log_kernels(margins: Array, side: _Side, bandwidth: float) -> Array:
    """The log kernel density of each pair's margin, up to the constant of the kernel."""
    found = np.full(margins.shape, -np.inf)
    for model in range(len(margins)):  # one row at a time keeps the memory linear
        distance = (margins[model] - margins) / bandwidth
        kept = side.mask & (np.arange(len(margins))[:, None] != side.removed[model])
        logs = np.where(kept, -0.5 * distance**2, -np.inf)
        top = np.max(logs, axis=0, initial=-1e300)
        total = np.maximum(np.exp(logs - top).sum(0), 1.0)  # at least 1 unless the side is empty
        found[model] = top + np.log(total / np.maximum(kept.sum(0), 1))
    return found


def _checked(phi: ArrayLike, state: ArrayLike) -> tuple[Array, NDArray[np.int8]]:
    margins = np.asarray(phi, dtype=np.float64)
    states = np.asarray(state)
    if margins.ndim != 2 or not margins.size:
        raise ValueError(f"phi must be (K, A), neither of them 0; got {margins.shape}")
    if states.shape != margins.shape:
        raise ValueError(f"state must be {margins.shape}, as phi is; got {states.shape}")
    strange = np.count_nonzero(~np.isin(states, (OUT, RETAIN, FORGET)))
    if strange:
        raise ValueError(
            f"state must hold OUT 0, RETAIN 1 and FORGET 2; {strange} of {states.size} do not"
        )
    infinite = np.count_nonzero(~np.isfinite(margins))
    if infinite:
        raise ValueError(f"phi must be finite; {infinite} of {margins.size} values are not")
    return margins, states.astype(np.int8)
