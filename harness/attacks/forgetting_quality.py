"""The forgetting quality of the NeurIPS 2023 unlearning challenge, from two ensembles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

DELTA = 1e-5
CAP = 50.0
"""The largest ε, also given where one ensemble's range is below 1 % of the other's."""
PEAKY = 0.01
THRESHOLDS_PER_UNIT = 100
BUFFER = 2.0
"""How far an interval's ends go beyond the peakier ensemble's."""
BUCKET = 0.5
"""The width in ε over which an example's points halve."""


@dataclass(frozen=True)
class Null:
    """What ``quality`` would be if the method were retraining; it is far from 1."""

    mean: float
    low: float
    """The 5 % quantile over relabellings."""


def epsilons(unlearned: ArrayLike, retrained: ArrayLike) -> Array:
    """ε of each forget example in [0, 50], ``(n,)``: how well two ensembles are told apart.

    Both are margins ``(M, n)`` of M models on the n forget examples. ε is the largest over a grid
    of decision rules with the rates FPR and FNR of max(log(1 - δ - FPR) - log FNR,
    log(1 - δ - FNR) - log FPR, 0), δ = 1e-5. The rules: "at least c" predicts the ensemble with
    the larger median; "between l and r" the one with the smaller range. A rule with one rate of 0
    is discarded; with both 0, ε is 50.

    The grids are the released code's, which as published stops at a failing assertion on an array
    (``assert thr_eps``); its single thresholds, rates and logarithms are float32, so they are here.
    Raises ValueError for other shapes, margins that are not finite, and examples all of whose rules
    are discarded (where the released code stops too), such as two equal constants.

    Triantafillou et al. 2024, https://arxiv.org/abs/2406.09073;
    https://github.com/google-deepmind/unlearning_evaluation
    """
    first, second = _checked(unlearned, retrained)
    table = _epsilon_of_errors(len(first))
    swap = np.median(second, axis=0) > np.median(first, axis=0)
    positive = np.sort(np.where(swap, second, first), axis=0).T
    negative = np.sort(np.where(swap, first, second), axis=0).T
    found = np.array([_epsilon(*pair, table) for pair in zip(positive, negative, strict=True)])
    undecided = np.count_nonzero(np.isneginf(found))
    if undecided:
        raise ValueError(
            f"{undecided} of {len(found)} examples have no decision rule that errs on both sides; "
            "are both ensembles constant there?"
        )
    return np.asarray(np.minimum(found, CAP))


def score(epsilon: ArrayLike, models: int) -> float:
    """H in [0, 1]: the mean of 2^-⌊ε / 0.5⌋ over examples, 0 from ε >= ⌈ln(M - 1)⌉ on.

    ``models`` is M, which the score depends on: H of different M are not comparable.
    """
    if models < 3:
        raise ValueError(f"models must be at least 3; got {models}")
    values = np.asarray(epsilon, dtype=np.float64)
    points = np.where(values < math.ceil(math.log(models - 1)), 0.5 ** (values // BUCKET), 0.0)
    return float(points.mean())


def quality(unlearned: ArrayLike, retrained: ArrayLike) -> float:
    """H of two ensembles; two of retrained models reach about 0.17 to 0.20, not 1."""
    return score(epsilons(unlearned, retrained), len(np.asarray(unlearned)))


def final_score(
    forgetting: float, *, retain: float, retrained_retain: float, test: float, retrained_test: float
) -> float:
    """H times the retain and test accuracies, each as a share of the retrained models'."""
    if not min(retrained_retain, retrained_test) > 0:
        raise ValueError(
            "accuracies of retrained models must be above 0; got "
            f"{retrained_retain} and {retrained_test}"
        )
    return forgetting * (retain / retrained_retain) * (test / retrained_test)


def null(
    unlearned: ArrayLike, retrained: ArrayLike, *, relabellings: int = 5, seed: int = 0
) -> Null:
    """``quality`` under the hypothesis that the method is retraining, at the same M.

    The 2 M models are relabelled at random, each with all its examples. A relabelling costs as much
    as the quality itself, 2 to 10 ms an example.
    """
    first, second = _checked(unlearned, retrained)
    if relabellings < 1 or len(first) < 6:
        raise ValueError(
            "a null needs relabellings >= 1 and at least 6 models a side; "
            f"got {relabellings} and {len(first)}"
        )
    rng, everyone = np.random.default_rng(seed), np.concatenate([first, second])
    same = [_between_halves(everyone, rng) for _ in range(relabellings)]
    return Null(float(np.mean(same)), float(np.quantile(same, 0.05)))


def null_of_halves(retrained: ArrayLike, *, relabellings: int = 5, seed: int = 0) -> float:
    """``quality`` of retrained beside retrained models: the mean over random halves, at M // 2."""
    models, _ = _checked(retrained, retrained)
    if relabellings < 1 or len(models) < 6:
        raise ValueError(
            "a null needs relabellings >= 1 and at least 6 models; "
            f"got {relabellings} and {len(models)}"
        )
    rng = np.random.default_rng(seed)
    return float(np.mean([_between_halves(models, rng) for _ in range(relabellings)]))


def _between_halves(margins: Array, rng: np.random.Generator) -> float:
    order, half = rng.permutation(len(margins)), len(margins) // 2
    return quality(margins[order[:half]], margins[order[half : 2 * half]])


def _epsilon_of_errors(models: int) -> Array:
    """ε by the number of false negatives and of false positives; -∞ for a discarded rule."""
    rates = np.arange(models + 1, dtype=np.float32) / np.float32(models)  # as released
    fnr, fpr = rates[:, None], rates[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.log(1 - DELTA - fpr) - np.log(fnr)
        other = np.log(1 - DELTA - fnr) - np.log(fpr)
    table = np.maximum(np.fmax(one, other), 0.0).astype(np.float64)
    table = np.where(np.isnan(table) | (fnr * fpr == 0), -np.inf, table)
    table[0, 0] = np.inf
    return table


def _epsilon(positive: Array, negative: Array, table: Array) -> float:
    """ε of one example, from sorted margins."""
    ranges = positive[-1] - positive[0], negative[-1] - negative[0]
    if min(ranges) < PEAKY * max(ranges):
        return CAP
    peaky, wide = (negative, positive) if ranges[0] >= ranges[1] else (positive, negative)
    return max(_single(positive, negative, table), _double(peaky, wide, table))


def _single(positive: Array, negative: Array, table: Array) -> float:
    thresholds = _float32_grid(min(positive[0], negative[0]), max(positive[-1], negative[-1]))
    missed = np.searchsorted(positive, thresholds, "left")
    false = len(negative) - np.searchsorted(negative, thresholds, "left")
    return float(np.max(table[missed, false], initial=-np.inf))


def _float32_grid(low: float, high: float) -> Array:
    """The values of torch.linspace in its default type, counted from the nearer end."""
    number = math.ceil((high - low) * THRESHOLDS_PER_UNIT)
    start, end = np.float32(low), np.float32(high)
    if number < 2:
        return np.full(number, start, dtype=np.float64)
    step = (end - start) / np.float32(number - 1)
    steps = np.arange(number, dtype=np.float32)
    grid = np.where(steps < number // 2, start + step * steps, end - step * steps[::-1])
    return grid.astype(np.float64)


def _double(peaky: Array, wide: Array, table: Array) -> float:
    width = peaky[-1] - peaky[0]
    low, high = peaky[0] + width - BUFFER, peaky[-1] + BUFFER
    right = np.linspace(low, high, math.ceil((high - low) * THRESHOLDS_PER_UNIT))[:, None]
    centre = right[:, 0] - width
    number = math.ceil(2 * BUFFER * THRESHOLDS_PER_UNIT)
    left = np.linspace(centre - BUFFER, centre + BUFFER, number, axis=1)
    left = _beside(np.concatenate([peaky, wide]), left)
    missed = len(peaky) - _between(peaky, left, right)
    return float(table[missed, _between(wide, left, right)].max())


def _beside(margins: Array, grids: Array) -> Array:
    """Of evenly spaced grids ``(r, g)``, the first value and those beside a margin, where any are.

    Between two margins all values make the same decisions, so the others add nothing.
    """
    number = grids.shape[1]
    if 3 * len(margins) >= number:
        return grids
    steps = (margins - grids[:, :1]) / (grids[:, -1:] - grids[:, :1]) * (number - 1)
    near = np.floor(steps)[:, :, None] + [0, 1, 2]  # a rounding error is less than one step
    near = np.clip(near, 0, number - 1).astype(np.intp).reshape(len(grids), -1)
    beside = np.take_along_axis(grids, near, axis=1)
    return np.concatenate([grids[:, :1], beside], axis=1)


def _between(ordered: Array, left: Array, right: Array) -> Counts:
    below = np.searchsorted(ordered, left, "left")
    return np.asarray(np.maximum(np.searchsorted(ordered, right, "right") - below, 0))


def _checked(unlearned: ArrayLike, retrained: ArrayLike) -> tuple[Array, Array]:
    first = np.asarray(unlearned, dtype=np.float64)
    second = np.asarray(retrained, dtype=np.float64)
    if first.ndim != 2 or not first.size or first.shape != second.shape:
        raise ValueError(
            "unlearned and retrained must both be (M, n), with the same M and n; got "
            f"{first.shape} and {second.shape}"
        )
    for name, values in (("unlearned", first), ("retrained", second)):
        infinite = np.count_nonzero(~np.isfinite(values))
        if infinite:
            raise ValueError(f"{name} must be finite; {infinite} of {values.size} values are not")
    return first, second
