"""All weights of a model as one vector."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def moved(model: nn.Module, step: Tensor) -> nn.Module:
    """The same model, in eval mode, after a step ``(parameters,)`` of its weights in order."""
    weights = list(model.parameters())
    parts = torch.split(step, [weight.numel() for weight in weights])
    for weight, part in zip(weights, parts, strict=True):
        weight.add_(part.reshape(weight.shape))
    return model.eval()
