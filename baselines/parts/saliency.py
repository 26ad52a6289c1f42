"""A mask of the weights that matter most to the forget set, and training that moves only these."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from baselines.parts.gradients import summed_gradients
from harness import Data


def saliency_mask(model: nn.Module, forget: Data, ratio: float, *, batch: int) -> dict[str, Tensor]:
    """Parameter → bool of its shape: the share of all weights with the largest |∇CE(forget)|."""
    weights = dict(model.named_parameters())
    summed = summed_gradients(model, list(weights.values()), forget, batch=batch)
    total = dict(zip(weights, summed, strict=True))
    size = torch.cat([gradient.abs().flatten() for gradient in total.values()])
    kept = max(1, round(ratio * len(size)))
    threshold = size.kthvalue(len(size) - kept + 1).values
    threshold = threshold.clamp(min=torch.finfo(size.dtype).tiny)  # no gradient, no salience
    return {name: gradient.abs() >= threshold for name, gradient in total.items()}


def restoring(
    model: nn.Module, mask: Mapping[str, Tensor]
) -> Callable[[nn.Module, Optimizer], None]:
    """Restores every weight outside the mask to its start, and clears its momentum."""
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    @torch.no_grad()
    def restore(model: nn.Module, optimizer: Optimizer) -> None:
        for name, weight in model.named_parameters():
            weight.copy_(torch.where(mask[name], weight, before[name]))
            momentum = optimizer.state[weight].get("momentum_buffer")
            if momentum is not None:
                momentum.mul_(mask[name])

    return restore
