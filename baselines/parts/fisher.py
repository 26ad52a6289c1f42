"""Gradients of single samples and the diagonal Fisher, in one pass and in bounded memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness import Data, as_float

CHUNK = 64
"""Samples at a time, at most."""

CHUNK_NUMBERS = 2**26
"""Gradients of a chunk, in float32 numbers, at most (256 MiB), but always one sample."""


def sample_gradients(model: nn.Module, data: Data) -> Iterator[dict[str, Tensor]]:
    """Chunk after chunk in the data's order: parameter → ``(b, *shape)`` gradients of CE.

    In eval mode, so that a sample's gradient does not depend on its neighbours, and without
    augmentation. The model stays in eval mode; its parameters' ``grad`` is not touched.
    """
    model.eval()
    weights = {
        name: weight.detach().contiguous()  # vmap pools channels_last images one by one
        for name, weight in model.named_parameters()
    }
    buffers = dict(model.named_buffers())

    def loss(weights: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, (weights, buffers), (image[None],))
        return F.cross_entropy(logits, label[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))
    size = sum(weight.numel() for weight in weights.values())
    chunk = max(1, min(CHUNK, CHUNK_NUMBERS // size))
    for start in range(0, len(data), chunk):
        rows = slice(start, start + chunk)
        # vmap has no rule for attention's fused kernels, nor for the pooling of channels_last
        # images in a ConvNeXt, which it does image by image, with a warning
        with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")
            gradients = each(weights, as_float(data.images[rows]), data.labels[rows])
        yield gradients


def diagonal_fisher(model: nn.Module, data: Data) -> dict[str, Tensor]:
    """Parameter → mean over the samples of the squared gradient of CE (empirical Fisher).

    Raises ValueError for an empty set.
    """
    if len(data) == 0:
        raise ValueError("the Fisher information of an empty set is not defined")
    total = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    for gradients in sample_gradients(model, data):
        for name, gradient in gradients.items():
            total[name] += gradient.square().sum(0)
    return {name: value.detach() / len(data) for name, value in total.items()}
