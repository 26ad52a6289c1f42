"""A model as it was made: its weights, its cost, and whether its weights say all about it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from harness.specs.data import Data
from harness.specs.evidence import Cost
from harness.training.flops import FlopCounter
from harness.training.loop import predict, synchronised

Made = TypeVar("Made")

PROBE = 256
"""How many rows of the forget set, and of the granted retain set, a model is checked on."""

NOISE = 1e-3
"""The share of the largest logit by which two computations of the same logits may differ.

The memory layout of weights and images decides which kernel multiplies them, and in which order it
sums. On a CPU the same layout should give the same bits; TensorFloat-32 on a GPU keeps 10 bits,
about 1e-3.
"""


@dataclass(frozen=True, eq=False)
class Product:
    """A finished model, with its cost."""

    weights: Mapping[str, Tensor]
    """Its state dict; empty if ``changed``."""
    probe: Tensor
    """Its own logits ``(n, classes)`` on a few images, in eval mode; empty if ``changed``."""
    cost: Cost
    changed: str = ""
    """How the model differs from what its weights determine; if it does, nothing is measured."""


def costed(
    phase: str,
    make: Callable[[], Made],
    device: torch.device,
    unit: int,
    most_passes: float = math.inf,
) -> tuple[Made, Cost]:
    """What ``make`` returns, and what it cost; ``unit`` is the work of one pass.

    Raises OverBudgetError if it takes more passes than granted.
    """
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    counter = FlopCounter(most=most_passes * max(unit, 1))
    with synchronised(device):
        start = time.perf_counter()
        with counter:
            made = make()
    seconds = time.perf_counter() - start
    memory = torch.cuda.max_memory_allocated(device) if on_gpu else None
    return made, Cost({phase: seconds}, counter.flops / max(unit, 1), memory)


def added(first: Cost, then: Cost) -> Cost:
    """The cost of doing two pieces of work, one after the other."""
    memory = max((m for m in (first.peak_memory, then.peak_memory) if m is not None), default=None)
    return Cost({**first.seconds, **then.seconds}, first.passes + then.passes, memory)


def finished(model: nn.Module, probe: Tensor, cost: Cost) -> Product:
    """The model's weights, with its own logits on the probe images."""
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    try:
        logits = probed(model, probe)
    except Exception as error:  # a method may have left anything in the model
        lines = str(error).strip().splitlines() or ["no message"]
        reason = f"{type(error).__name__}: {lines[0]}"
        return Product({}, torch.empty(0), cost, f"its model does not run in eval mode: {reason}")
    return Product(weights, logits, cost)


def probed(model: nn.Module, images: Tensor) -> Tensor:
    """The logits ``(n, classes)`` in eval mode on the CPU, with all images in one batch.

    The weights first get the memory layout of a network from the store.
    """
    model.to(memory_format=torch.channels_last)
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    return predict(model, Data.of(images, labels), batch=max(len(images), 1)).cpu()


def difference(own: Tensor, rebuilt: Tensor) -> str:
    """How a model's own logits differ from those of a fresh network with its weights, if at all."""
    if own.shape != rebuilt.shape:
        return f"its model gives logits {tuple(own.shape)}; expected {tuple(rebuilt.shape)}"
    finite = own.isfinite() & rebuilt.isfinite()
    largest = float((own - rebuilt)[finite].abs().max()) if finite.any() else 0.0
    scale = float(rebuilt[finite].abs().max()) if finite.any() else 0.0
    if torch.equal(own.isfinite(), rebuilt.isfinite()) and largest <= NOISE * max(scale, 1.0):
        return ""
    size = f"{largest:.2g}" if torch.equal(own.isfinite(), rebuilt.isfinite()) else "not finite"
    return (
        f"its model's logits differ from those of a fresh network with its weights: "
        f"largest difference {size}"
    )


def changed_architecture(
    model: nn.Module,
    kinds: Mapping[str, type[nn.Module]],
    tensors: Mapping[str, tuple[torch.Size, torch.dtype]],
) -> str:
    """How a model differs from the original in anything but weights; empty if it does not."""
    kind = type(model)
    if kind is not kinds[""]:
        return f"it returned a {kind.__name__}; expected the original's {kinds[''].__name__}"
    found = {name: type(part) for name, part in model.named_modules()}
    if found != kinds:
        odd = sorted(name for name, _ in found.items() ^ kinds.items())
        return f"it changed the architecture, first in {odd[0]}"
    return _changed_tensors(model, tensors) or _changed_calls(model)


def _changed_tensors(
    model: nn.Module, expected: Mapping[str, tuple[torch.Size, torch.dtype]]
) -> str:
    found = {name: form_of(value) for name, value in model.state_dict().items()}
    if found == expected:
        return ""
    name = min(name for name, _ in found.items() ^ expected.items())
    if name in found and name in expected and found[name][0] == expected[name][0]:
        return f"its {name} is {found[name][1]}; expected the original's {expected[name][1]}"
    return f"its state dict differs from the original's, first in {name}"


def form_of(value: Any) -> tuple[torch.Size, torch.dtype]:
    """What a tensor of the original's state dict must keep: shape and dtype."""
    return value.shape, value.dtype


def _changed_calls(model: nn.Module) -> str:
    for name, part in model.named_modules():
        if any(hooks for key, hooks in vars(part).items() if key.endswith("_hooks")):
            return f"it left a hook on {name or 'the model'}"
        if "forward" in vars(part):
            return f"it replaced forward of {name or 'the model'}"
    return ""
