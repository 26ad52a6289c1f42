"""Calls a method, measures its cost, and checks the model that it returns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from harness.isolation.containment import contained
from harness.seeds import seeded
from harness.specs.data import Data
from harness.specs.method import Method, Task
from harness.specs.protocol import STORED, Cost
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


class MethodError(Exception):
    """A method returned something other than what the harness asked for."""


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


@dataclass(eq=False)
class MethodCall:
    """Everything that one run of a method needs, with no reference to data that it may not see."""

    method: Method
    config: Any
    task: Task
    before: nn.Module | None
    """The original, for a method with ``at_training``."""
    kept: Data | None
    """The original's whole train set, for the same purpose."""
    probe: Tensor
    """Images ``(n, c, h, w)`` that the finished model is checked on."""
    seed: int
    device: torch.device
    unit: int
    """The work of one pass."""

    def carry_out(self, most_passes: float = math.inf) -> Product:
        """The model that the method returns; global settings that the method changes are restored.

        Raises MethodError if it returns no model, and OverBudgetError if it takes more passes than
        granted.
        """
        method = self.method
        stored, before = self._stored(most_passes)
        task = replace(self.task, stored=stored)
        kinds = {name: type(part) for name, part in task.model.named_modules()}
        tensors = {name: _form(value) for name, value in task.model.state_dict().items()}

        def make() -> nn.Module:
            with contained():
                return method.unlearn(task, self.config)

        with seeded(self.seed, f"{method.name}/global"), torch.enable_grad():
            model, cost = costed(
                "unlearn", make, self.device, self.unit, most_passes - before.passes
            )
        if not isinstance(model, nn.Module):
            raise MethodError(f"it returned {model!r}; expected the unlearned model, an nn.Module")
        cost = added(before, cost)
        if change := changed_architecture(model, kinds, tensors):
            return Product({}, torch.empty(0), cost, change)
        return finished(model, self.probe, cost)

    def _stored(self, most_passes: float) -> tuple[Mapping[str, Tensor], Cost]:
        """What the method stores when the original is trained, before the forget set is known."""
        at_training = self.method.at_training
        model, data = self.before, self.kept
        self.before = self.kept = None  # the method must not find them later
        if at_training is None or model is None or data is None:
            return {}, Cost({}, 0)

        def make() -> Mapping[str, Tensor]:
            with contained():
                return at_training(model, data)

        with seeded(self.seed, f"{self.method.name}/stored"), torch.enable_grad():
            stored, cost = costed(STORED, make, self.device, self.unit, most_passes)
        if not isinstance(stored, Mapping) or not all(map(torch.is_tensor, stored.values())):
            raise MethodError(f"its at_training returned {stored!r:.60}; expected named tensors")
        return stored, cost


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
    found = {name: _form(value) for name, value in model.state_dict().items()}
    if found == expected:
        return ""
    name = min(name for name, _ in found.items() ^ expected.items())
    if name in found and name in expected and found[name][0] == expected[name][0]:
        return f"its {name} is {found[name][1]}; expected the original's {expected[name][1]}"
    return f"its state dict differs from the original's, first in {name}"


def _form(value: Any) -> tuple[torch.Size, torch.dtype]:
    return value.shape, value.dtype


def _changed_calls(model: nn.Module) -> str:
    for name, part in model.named_modules():
        if any(hooks for key, hooks in vars(part).items() if key.endswith("_hooks")):
            return f"it left a hook on {name or 'the model'}"
        if "forward" in vars(part):
            return f"it replaced forward of {name or 'the model'}"
    return ""
