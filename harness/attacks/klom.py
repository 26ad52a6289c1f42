"""KLOM: how far the margins of unlearned models are from those of retrained ones, by point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Groups = NDArray[np.bool_]
Form = Literal["corrected", "released", "gaussian"]

CLIP = 100.0
"""Margins are cut to ± this before anything is computed, as released."""
FLOOR = 1e-5
"""The smallest share of the unlearned models in a bin that the retrained models are in."""
CEILING = -float(np.log(FLOOR))
"""11.51 nats: what two disjoint histograms reach, and where the normal form is cut."""
RELEASED_BINS, FEW_BINS, FEW_MODELS = 20, 5, 100
POINTS_AT_ONCE = 1024


@dataclass(frozen=True)
class Summary:
    """The distribution of KLOM over points, in nats."""

    mean: float
    low: float
    """The 5 % quantile."""
    median: float
    high: float
    """The 95 % quantile."""
    undefined: int
    """Points without a value; the others are summarised."""


@dataclass(frozen=True)
class Null:
    """What the mean over points would be if the method were retraining, in nats."""

    mean: float
    high: float
    """The 95 % quantile: a mean below it is not told apart from retraining."""
    p_value: float
    """The share of relabellings, the given one included, whose mean is at least as large."""
    halves: float
    """Retrained models against retrained models: the mean over random halves, so at N // 2."""


def klom(
    unlearned: ArrayLike,
    oracles: ArrayLike,
    *,
    form: Form = "corrected",
    bins: int | None = None,
) -> Array:
    """KL(retrained ‖ unlearned) of the margins, in nats, by point: ``(n,)``.

    Both are margins ``(N, n)`` of N models on n points, cut to ± 100. It is 0 at best but well
    above it for finite N even where both are retrained: print ``null`` beside it.

    ``form``: "corrected" counts in equal bins over the joint range, the largest margin included;
    5 bins below 100 models and 20 from there on, or ``bins``. "released" is the published code's:
    20 bins, without the point's largest margin, and NaN where all retrained models share it.
    "gaussian" is the KL divergence between two fitted normal laws, cut at 11.51, what the other two
    can reach at most. Raises ValueError for other shapes and for NaN.

    Georgiev et al. 2024, https://arxiv.org/abs/2410.23232, appendix E.1;
    https://github.com/RoyRin/data-unlearning-bench
    """
    first, second = _checked(unlearned, oracles)
    chosen = _bins(form, bins, len(first))
    given = np.arange(2 * len(first))[None] < len(first)
    blocks = _by_block(np.concatenate([first, second]), given, form, chosen)
    return np.concatenate([block[0] for block in blocks])


def null(
    unlearned: ArrayLike,
    oracles: ArrayLike,
    *,
    form: Form = "corrected",
    bins: int | None = None,
    relabellings: int = 200,
    seed: int = 0,
) -> Null:
    """The mean of ``klom`` over points under the hypothesis that the method is retraining.

    The 2 N models are relabelled at random, each with all its points, so that the null is exact at
    the same N (if unlearned and retrained models are exchangeable, all relabellings are equally
    likely) and keeps the dependence between points. Retrained models alone would have to be halved.
    """
    first, second = _checked(unlearned, oracles)
    chosen, rng = _bins(form, bins, len(first)), np.random.default_rng(seed)
    if relabellings < 1 or len(first) < 4:
        raise ValueError(
            "a null needs relabellings >= 1 and at least 4 models a side; "
            f"got {relabellings} and {len(first)}"
        )
    given = np.arange(2 * len(first))[None] < len(first)
    groups = np.concatenate([given, _halves(2 * len(first), relabellings, rng)])
    found = _means(np.concatenate([first, second]), groups, form, chosen)
    others = found[1:]
    even = second[: len(second) // 2 * 2]
    halves = _means(even, _halves(len(even), relabellings, rng), form, chosen)
    at_least = np.count_nonzero(others >= found[0] - 1e-9)  # rounding errors are smaller
    return Null(
        float(others.mean()),
        float(np.quantile(others, 0.95)),
        float((1 + at_least) / (1 + relabellings)),
        float(halves.mean()),
    )


def summary(values: ArrayLike) -> Summary:
    """The mean and quantiles of ``klom``'s values over points, ``(n,)``."""
    points = np.asarray(values, dtype=np.float64)
    defined = points[~np.isnan(points)]
    if points.ndim != 1 or not len(defined):
        raise ValueError(f"values must be (n,), not all of them NaN; got {points.shape}")
    low, median, high = np.quantile(defined, [0.05, 0.5, 0.95]).tolist()
    return Summary(float(defined.mean()), low, median, high, len(points) - len(defined))


def _bins(form: Form, bins: int | None, models: int) -> int:
    if form not in ("corrected", "released", "gaussian"):
        raise ValueError(f"form must be 'corrected', 'released' or 'gaussian'; got {form!r}")
    if bins is None:
        return FEW_BINS if form == "corrected" and models < FEW_MODELS else RELEASED_BINS
    if form != "corrected" or bins < 2:
        raise ValueError(f"bins must be at least 2, for the form 'corrected'; got {bins}, {form!r}")
    return bins


def _halves(models: int, number: int, rng: np.random.Generator) -> Groups:
    """Random halves of the models as masks ``(number, models)``."""
    order = np.argsort(rng.random((number, models)), axis=1)
    return np.asarray(order < models // 2)


def _means(margins: Array, groups: Groups, form: Form, bins: int) -> Array:
    """The mean over points for each group, leaving out undefined points."""
    total, defined = np.zeros(len(groups)), np.zeros(len(groups))
    for block in _by_block(margins, groups, form, bins):
        total += np.nansum(block, axis=1)
        defined += np.count_nonzero(~np.isnan(block), axis=1)
    if not defined.all():
        raise ValueError("no point has a value: all retrained models share the largest margin")
    return np.asarray(total / defined)


def _by_block(margins: Array, groups: Groups, form: Form, bins: int) -> Iterator[Array]:
    """KL(the models outside a group ‖ those inside), ``(groups, points)``, some points at once."""
    for start in range(0, margins.shape[1], POINTS_AT_ONCE):
        block = margins[:, start : start + POINTS_AT_ONCE]
        if form == "gaussian":
            yield _normal_divergence(block, groups)
        else:
            yield _divergence(*_counts(block, groups, bins, drop_largest=form == "released"))


def _counts(
    margins: Array, groups: Groups, bins: int, *, drop_largest: bool
) -> tuple[Array, Array]:
    """How many models inside and outside a group are in a bin, each ``(groups, points, bins)``.

    The bins are those of numpy.digitize over the joint range, which does not depend on the group.
    """
    low, high = margins.min(0), margins.max(0)
    edges = np.linspace(low, np.where(low < high, high, low + 1), bins + 1)
    reached = np.stack([margins >= edge for edge in edges])
    if not drop_largest:
        reached[-1] = False
    inside_bin = (reached[:-1] & ~reached[1:]).astype(np.float32)  # (bins, models, points)
    flat = inside_bin.transpose(1, 2, 0).reshape(len(margins), -1)
    inside = (groups.astype(np.float32) @ flat).reshape(len(groups), -1, bins)  # exact below 2^24
    everyone = inside_bin.sum(1).T[None]
    return inside.astype(np.float64), (everyone - inside).astype(np.float64)


def _divergence(unlearned: Array, oracles: Array) -> Array:
    """KL(oracles ‖ unlearned) of counts over the last axis; NaN without any oracle."""
    with np.errstate(invalid="ignore"):
        p = oracles / oracles.sum(-1, keepdims=True)
    q = unlearned / np.maximum(unlearned.sum(-1, keepdims=True), 1)
    q = np.where(p > 0, np.maximum(q, FLOOR), q)
    ratio = np.where(p > 0, p, 1) / np.where(p > 0, q, 1)
    return np.asarray((p * np.log(ratio)).sum(-1) + np.log(q.sum(-1)))


def _normal_divergence(margins: Array, groups: Groups) -> Array:
    around = margins - margins[0]  # equal margins have a variance of exactly 0
    inside, outside = groups.astype(np.float64), (~groups).astype(np.float64)
    mean, variance = _moments(around, inside)
    mean_oracles, variance_oracles = _moments(around, outside)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = variance_oracles / variance
        value = (ratio + (mean_oracles - mean) ** 2 / variance - 1 - np.log(ratio)) / 2
    same = (variance == variance_oracles) & (mean == mean_oracles)
    value = np.where(same, 0.0, np.where(np.isnan(value), CEILING, value))
    return np.clip(value, 0.0, CEILING)


def _moments(values: Array, weights: Array) -> tuple[Array, Array]:
    share = weights / weights.sum(1, keepdims=True)
    mean = share @ values
    return mean, np.maximum(share @ values**2 - mean**2, 0.0)


def _checked(unlearned: ArrayLike, oracles: ArrayLike) -> tuple[Array, Array]:
    first = np.asarray(unlearned, dtype=np.float64)
    second = np.asarray(oracles, dtype=np.float64)
    if first.ndim != 2 or not first.size or first.shape != second.shape:
        raise ValueError(
            "unlearned and oracles must both be (N, n), with the same N and n; got "
            f"{first.shape} and {second.shape}"
        )
    for name, values in (("unlearned", first), ("oracles", second)):
        missing = np.count_nonzero(np.isnan(values))
        if missing:
            raise ValueError(f"{name} must hold numbers; {missing} of {values.size} are NaN")
    return np.clip(first, -CLIP, CLIP), np.clip(second, -CLIP, CLIP)
