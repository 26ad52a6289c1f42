"""Gradients of single samples, and the diagonal Fisher of samples or of batches, in one pass."""

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
    total = _zeros(model, data)
    for gradients in sample_gradients(model, data):
        for name, gradient in gradients.items():
            total[name] += gradient.square().sum(0)
    return {name: value / len(data) for name, value in total.items()}


def batch_fisher(model: nn.Module, data: Data, *, batch: int) -> dict[str, Tensor]:
    """Parameter → mean over the batches of the squared gradient of a batch's mean CE.

    The batches, of almost equal size, follow the data's order. The model is in eval mode, sees no
    augmentation and stays in eval mode; its parameters' ``grad`` is not touched. Raises ValueError
    for an empty set.
    """
    total = _zeros(model, data)
    weights = dict(model.eval().named_parameters())
    count = -(-len(data) // batch)
    for rows in torch.arange(len(data), device=data.device).tensor_split(count):
        loss = F.cross_entropy(model(as_float(data.images[rows])), data.labels[rows])
        found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        for name, gradient in zip(weights, found, strict=True):
            if gradient is not None:
                total[name] += gradient.square()
    return {name: value / count for name, value in total.items()}


def _zeros(model: nn.Module, data: Data) -> dict[str, Tensor]:
    if len(data) == 0:
        raise ValueError("the Fisher information of an empty set is not defined")
    return {name: torch.zeros_like(weight.detach()) for name, weight in model.named_parameters()}
