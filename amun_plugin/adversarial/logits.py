"""What logits ``(n, classes)`` say of labels ``(n,)``: right, or wrong by more than rounding."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDING = 1e-5
"""How far logits in float32 may differ from batch to batch, as a share of the largest."""


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """``(n,)``: the label's logit less the largest other; negative where the model errs."""
    own, others = _parted(logits, labels)
    return own - others.amax(1)


def loss(logits: Tensor, labels: Tensor, sharpness: Tensor | None = None) -> Tensor:
    """``(n,)``: logsumexp of the others less the label's: what the searches ascend.

    The cross-entropy is its softplus: the direction is the same, and this one never saturates.
    With a sharpness ``(n,)`` the logsumexp is that of logits so many times as large, over it.
    """
    own, others = _parted(logits, labels)
    if sharpness is None:
        return others.logsumexp(1) - own
    return (others * sharpness[:, None]).logsumexp(1) / sharpness - own


def loss_gradient(logits: Tensor, labels: Tensor, sharpness: Tensor | None = None) -> Tensor:
    """``(n, classes)``: the derivative of ``loss`` by the logits."""
    _, others = _parted(logits, labels)
    if sharpness is not None:
        others = others * sharpness[:, None]
    return others.softmax(1).scatter(1, labels[:, None], -1.0)


def is_wrong(logits: Tensor, labels: Tensor, rounding: float = ROUNDING) -> Tensor:
    """``(n,)`` bool: wrong by more than this share of the largest logit.

    So that a row stays wrong in a batch of another size, where sums are rounded otherwise.
    """
    return is_negative(margin(logits, labels), logits, rounding)


def is_negative(margins: Tensor, logits: Tensor, rounding: float = ROUNDING) -> Tensor:
    """The same of margins that are known."""
    return -margins > rounding * logits.abs().amax(1)


def rounding_of(dtype: torch.dtype, device: torch.device) -> float:
    """How far logits computed in this type may differ, as a share of the largest."""
    coarse = device.type == "cuda" and torch.backends.cudnn.allow_tf32
    return max(1e-3 if coarse else ROUNDING, torch.finfo(dtype).eps)


def _parted(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    at = labels[:, None]
    return logits.gather(1, at)[:, 0], logits.scatter(1, at, -torch.inf)
