"""Geometry of batches: each row is one vector, whatever its shape."""

from __future__ import annotations

import torch
from torch import Tensor

Bounds = tuple[float, float]


def norm(x: Tensor) -> Tensor:
    """``(n,)``: L2 over all but the first dimension."""
    length: Tensor = torch.linalg.vector_norm(x, dim=tuple(range(1, x.ndim)))
    return length


def column(values: Tensor, like: Tensor) -> Tensor:
    """``(n,)`` values in a shape that multiplies the rows of ``like``."""
    return values.view(-1, *[1] * (like.ndim - 1))


def direction(x: Tensor) -> tuple[Tensor, Tensor]:
    """The rows at length 1, and their lengths ``(n,)``; zero rows stay zero.

    Divides by the largest entry first, so that no square underflows or overflows.
    """
    peak = x.abs().amax(tuple(range(1, x.ndim)))
    scaled = x / column(torch.where(peak == 0, 1, peak), x)
    length = norm(scaled)
    return scaled / column(torch.where(peak == 0, 1, length), x), peak * length


def within(clean: Tensor, x: Tensor, radius: Tensor, bounds: Bounds) -> Tensor:
    """``x`` projected on the balls ``(n,)`` around ``clean``, and then clipped to the bounds."""
    away = x - clean
    away = away * column((radius / norm(away)).clamp(max=1), x)
    return (clean + away).clamp(*bounds)


def reach(clean: Tensor, bounds: Bounds) -> Tensor:
    """``(n,)``: the distance of the farthest point within the bounds."""
    low, high = bounds
    return norm(torch.maximum(clean - low, high - clean))


def replace(target: Tensor, where: Tensor, source: Tensor) -> None:
    """Writes the source's rows that are chosen by ``(n,)`` bool into the target, in place.

    On a GPU without a shape that depends on the choice, which the host would have to wait for.
    """
    if target.device.type == "cuda":
        target.copy_(torch.where(column(where, target), source, target))
        return
    at = where.nonzero().flatten()
    if len(at) == len(target):
        target.copy_(source)
    elif len(at):
        target[at] = source[at]
