"""Carries out what a method is asked for, with its cost, and holds what it returns to its word."""

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
"""Rows of the forget set, and as many of the granted retain set, that a model is tried on."""

NOISE = 1e-3
"""The share of the largest logit by which two computations of the same logits may differ.

Where weights and images lie in memory decides which kernel multiplies them, and in what order it
adds up; the same layout on a CPU is expected to give the same bits, and TensorFloat-32 on a GPU
keeps 10 bits, about 1e-3.
"""


class MethodError(Exception):
    """What a method returned is not what the harness asked for."""


@dataclass(frozen=True, eq=False)
class Product:
    """A model that was made."""

    weights: Mapping[str, Tensor]
    """Its state dict; empty where the model was changed."""
    probe: Tensor
    """The logits ``(n, classes)`` that it gave itself, in eval mode; empty where it was changed."""
    cost: Cost
    changed: str = ""
    """What of the model its weights do not tell, so that nothing is measured on it."""


@dataclass(eq=False)
class MethodCall:
    """All that one run of a method needs; nothing in it leads to what the method must not see."""

    method: Method
    config: Any
    task: Task
    before: nn.Module | None
    """The original, for a method that looks at it when it is trained."""
    kept: Data | None
    """Its whole train set, for the same."""
    probe: Tensor
    """Images ``(n, c, h, w)`` that the original, too, was made for."""
    seed: int
    device: torch.device
    unit: int

    def carry_out(self, most_passes: float = math.inf) -> Product:
        """The model that the method makes; the method can change nothing but its task.

        Raises MethodError where it returns no model, and OverBudgetError where it takes more
        passes than granted.
        """
        method, config = self.method, self.config
        stored, before = self._stored(most_passes)
        task = replace(self.task, stored=stored)
        kinds = {name: type(part) for name, part in task.model.named_modules()}
        tensors = {name: _form(value) for name, value in task.model.state_dict().items()}

        def make() -> nn.Module:
            with contained():
                return method.unlearn(task, config)

        with seeded(self.seed, f"{method.name}/global"), torch.enable_grad():
            model, cost = costed(
                "unlearn", make, self.device, self.unit, most_passes - before.passes
            )
        if not isinstance(model, nn.Module):
            raise MethodError(f"it returned {model!r}; expected the unlearned model, an nn.Module")
        cost, change = added(before, cost), changed_architecture(model, kinds, tensors)
        if change:
            return Product({}, torch.empty(0), cost, change)
        return finished(model, self.probe, cost)

    def _stored(self, most_passes: float) -> tuple[Mapping[str, Tensor], Cost]:
        """What the method keeps of the original's training, before anyone asks to forget."""
        look, model, data = self.method.at_training, self.before, self.kept
        self.before = self.kept = None  # it must not find them later
        if look is None or model is None or data is None:
            return {}, Cost({}, 0)

        def make() -> Mapping[str, Tensor]:
            with contained():
                return look(model, data)

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
    """What the function makes, and its cost; ``unit`` is the work of one pass.

    Raises OverBudgetError where it takes more passes than granted.
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
    """The cost of two pieces of work, one after the other."""
    memory = max((m for m in (first.peak_memory, then.peak_memory) if m is not None), default=None)
    return Cost({**first.seconds, **then.seconds}, first.passes + then.passes, memory)


def finished(model: nn.Module, probe: Tensor, cost: Cost) -> Product:
    """The model's weights, with the logits that it gives itself on the probe's images."""
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    try:
        logits = probed(model, probe)
    except Exception as error:  # whatever a stranger left in it
        lines = str(error).strip().splitlines() or ["no message"]
        reason = f"{type(error).__name__}: {lines[0]}"
        return Product({}, torch.empty(0), cost, f"its model does not run in eval mode: {reason}")
    return Product(weights, logits, cost)


def probed(model: nn.Module, images: Tensor) -> Tensor:
    """The logits ``(n, classes)`` in eval mode on the CPU, with all images in one batch.

    The weights get the layout that those of a network from the store have, whatever theirs was.
    """
    model.to(memory_format=torch.channels_last)
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    return predict(model, Data.of(images, labels), batch=max(len(images), 1)).cpu()


def difference(own: Tensor, rebuilt: Tensor) -> str:
    """How a model's own logits differ from those of its weights in a fresh network, if they do."""
    if own.shape != rebuilt.shape:
        return f"its model gives logits {tuple(own.shape)}; expected {tuple(rebuilt.shape)}"
    finite = own.isfinite() & rebuilt.isfinite()
    largest = float((own - rebuilt)[finite].abs().max()) if finite.any() else 0.0
    scale = float(rebuilt[finite].abs().max()) if finite.any() else 0.0
    if torch.equal(own.isfinite(), rebuilt.isfinite()) and largest <= NOISE * max(scale, 1.0):
        return ""
    told = f"{largest:.2g}" if torch.equal(own.isfinite(), rebuilt.isfinite()) else "not finite"
    return (
        f"its model gives other logits than its weights in a fresh network: "
        f"largest difference {told}"
    )


def changed_architecture(
    model: nn.Module,
    kinds: Mapping[str, type[nn.Module]],
    tensors: Mapping[str, tuple[torch.Size, torch.dtype]],
) -> str:
    """What of a model is not as it was in the original, beside weights; empty where all is."""
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
