"""The gradient of the cross-entropy over a whole set, in one pass and in eval mode."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Data, batches


def summed_gradients(
    model: nn.Module, weights: Sequence[Tensor], data: Data, *, batch: int
) -> list[Tensor]:
    """For each weight the sum of ∇CE over the rows, without augmentation; stays in eval mode."""
    model.eval()
    total = [torch.zeros_like(weight) for weight in weights]
    order = torch.Generator().manual_seed(0)  # a sum: the order does not matter
    for part in batches(data, batch=batch, generator=order):
        loss = F.cross_entropy(model(part.images), part.labels, reduction="sum")
        gradients = torch.autograd.grad(loss, weights)
        total = [value + gradient for value, gradient in zip(total, gradients, strict=True)]
    return total


def mean_gradients(
    model: nn.Module, weights: Sequence[Tensor], data: Data, *, batch: int
) -> list[Tensor]:
    """For each weight the mean of ∇CE over the rows; else as ``summed_gradients``."""
    return [value / len(data) for value in summed_gradients(model, weights, data, batch=batch)]
