"""Bad input, told by one clear error before any work is done."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn

from amun_plugin.adversarial.settings import Closest, Engine, Pgd
from amun_plugin.adversarial.vectors import Bounds

SNAP = 1e-6
"""How far outside the bounds a pixel may lie, as a share of their range; it is put back inside."""


def check_arguments(
    model: object, images: object, labels: object, *, method: object, bounds: object, engine: object
) -> Bounds:
    """The bounds as floats; raises TypeError or ValueError for what cannot be attacked."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
    if not isinstance(method, Pgd | Closest):
        raise TypeError(f"method must be a Pgd or a Closest; got {method!r}")
    if not isinstance(engine, Engine):
        raise TypeError(f"engine must be an Engine; got {engine!r}")
    low, high = _bounds(bounds)
    _check_images(images, low, high)
    _check_labels(labels, len(images) if isinstance(images, Tensor) else 0)
    return low, high


def check_classes(labels: Tensor, classes: int) -> None:
    """Raises ValueError for a label that the model has no logit for."""
    largest = int(labels.max())
    if largest >= classes:
        raise ValueError(f"labels must be in [0, {classes}), the model's classes; got {largest}")


def warn_of_probabilities(logits: Tensor) -> None:
    """Warns where the model's outputs ``(n, classes)`` look as if they came from a softmax."""
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < 1e-3).all()):
        warnings.warn(
            "the model's outputs look like probabilities (none is negative, rows sum to 1); "
            "the attack wants logits: leave out the final softmax",
            UserWarning,
            stacklevel=4,
        )


def _bounds(bounds: object) -> Bounds:
    try:
        low, high = (float(bound) for bound in bounds)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise TypeError(f"bounds must be two numbers, low and high; got {bounds!r}") from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"bounds must be finite, the first below the second; got {bounds!r}")
    return low, high


def _check_images(images: object, low: float, high: float) -> None:
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a tensor; got {type(images).__name__}")
    if not images.is_floating_point():
        raise TypeError(f"images must be floating in [{low:g}, {high:g}]; got {images.dtype}")
    if images.ndim < 2:
        raise ValueError(f"images must be (n, *shape); got shape {tuple(images.shape)}")
    if images.numel() == 0:
        if len(images):
            raise ValueError(f"images must have pixels; got shape {tuple(images.shape)}")
        return
    images = images.detach()
    if not bool(images.isfinite().all()):
        bad = (~images.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
        raise ValueError(f"images must be finite; got nan or inf in rows {bad[:5]}")
    smallest, largest = float(images.min()), float(images.max())
    slack = SNAP * (high - low)
    if smallest < low - slack or largest > high + slack:
        raise ValueError(
            f"images must lie in bounds=({low:g}, {high:g}); got [{smallest:g}, {largest:g}]. "
            f"Put the normalisation inside the model"
        )


def _check_labels(labels: object, n: int) -> None:
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a tensor; got {type(labels).__name__}")
    if labels.dtype != torch.int64:
        raise TypeError(f"labels must be int64; got {labels.dtype}")
    if labels.shape != (n,):
        raise ValueError(f"labels must be ({n},), one an image; got shape {tuple(labels.shape)}")
    if n and int(labels.min()) < 0:
        raise ValueError(f"labels must not be negative; got {int(labels.min())}")
