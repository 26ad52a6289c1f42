"""Row-wise arithmetic: margins and losses of logits, lengths and directions of images.

Logits are ``(n, classes)``, labels ``(n,)``, images ``(n, *s)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

Bounds = tuple[float, float]
"""The smallest and the largest value of a pixel."""

ROUNDING = 1e-5
"""How far float32 logits may differ from batch to batch, as a share of the largest."""


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """``(n,)``: the label's logit minus the largest other; negative where the model errs."""
    own, others = _parted(logits, labels)
    return own - others.amax(1)


def loss(logits: Tensor, labels: Tensor, sharpness: Tensor | None = None) -> Tensor:
    """``(n,)``: logsumexp of the other logits minus the label's, which the attacks ascend.

    The cross-entropy is its softplus. So the direction is the same, but this loss never saturates.
    A sharpness ``(n,)`` multiplies the logits inside the logsumexp and divides its value.
    """
    own, others = _parted(logits, labels)
    if sharpness is None:
        return others.logsumexp(1) - own
    return (others * sharpness[:, None]).logsumexp(1) / sharpness - own


def loss_gradient(logits: Tensor, labels: Tensor, sharpness: Tensor | None = None) -> Tensor:
    """``(n, classes)``: the derivative of ``loss`` with respect to the logits."""
    _, others = _parted(logits, labels)
    if sharpness is not None:
        others = others * sharpness[:, None]
    return others.softmax(1).scatter(1, labels[:, None], -1.0)


def is_wrong(logits: Tensor, labels: Tensor, rounding: float = ROUNDING) -> Tensor:
    """``(n,)`` bool: the model errs by more than ``rounding``, a share of the largest logit.

    Such a row stays wrong in a batch of another size, where sums round differently.
    """
    return is_negative(margin(logits, labels), logits, rounding)


def is_negative(margins: Tensor, logits: Tensor, rounding: float = ROUNDING) -> Tensor:
    """``(n,)`` bool: ``is_wrong`` for margins that are already known."""
    return -margins > rounding * logits.abs().amax(1)


def rounding_of(dtype: torch.dtype, device: torch.device) -> float:
    """How far logits computed in this type may differ, as a share of the largest."""
    coarse = device.type == "cuda" and torch.backends.cudnn.allow_tf32
    return max(1e-3 if coarse else ROUNDING, torch.finfo(dtype).eps)


def norm(x: Tensor) -> Tensor:
    """``(n,)``: the L2 length of each row."""
    length: Tensor = torch.linalg.vector_norm(x, dim=tuple(range(1, x.ndim)))
    return length


def column(values: Tensor, like: Tensor) -> Tensor:
    """The ``(n,)`` values, shaped to multiply the rows of ``like``."""
    return values.view(-1, *[1] * (like.ndim - 1))


def direction(x: Tensor) -> tuple[Tensor, Tensor]:
    """The rows scaled to length 1, and their lengths ``(n,)``; zero rows stay zero.

    Divides by the largest entry first, so that no square underflows or overflows.
    """
    peak = x.abs().amax(tuple(range(1, x.ndim)))
    scaled = x / column(torch.where(peak == 0, 1, peak), x)
    length = norm(scaled)
    return scaled / column(torch.where(peak == 0, 1, length), x), peak * length


def within(clean: Tensor, x: Tensor, radius: Tensor, bounds: Bounds) -> Tensor:
    """``x`` projected onto the balls of ``radius`` ``(n,)`` around ``clean``, then clipped."""
    away = x - clean
    away = away * column((radius / norm(away)).clamp(max=1), x)
    return (clean + away).clamp(*bounds)


def reach(clean: Tensor, bounds: Bounds) -> Tensor:
    """``(n,)``: the distance from each image to the farthest point within the bounds."""
    low, high = bounds
    return norm(torch.maximum(clean - low, high - clean))


def replace(target: Tensor, where: Tensor, values: Tensor) -> None:
    """Copies the rows of ``values`` that ``where`` ``(n,)`` bool selects into ``target``, in place.

    On a GPU no shape depends on the selection, so the host need not wait for it.
    """
    if target.device.type == "cuda":
        target.copy_(torch.where(column(where, target), values, target))
        return
    at = where.nonzero().flatten()
    if len(at) == len(target):
        target.copy_(values)
    elif len(at):
        target[at] = values[at]


def _parted(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The labels' logits, and all logits with -inf in the labels' places."""
    at = labels[:, None]
    return logits.gather(1, at)[:, 0], logits.scatter(1, at, -torch.inf)
