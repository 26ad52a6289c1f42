"""Puts together the task of a method, calls the method, and takes the model that it returns."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.datasets.splits import Split
from harness.isolation.containment import contained
from harness.runs.models import Models
from harness.runs.product import Product, added, changed_architecture, costed, finished, form_of
from harness.seeds import derive, seeded
from harness.specs.checks import shown, with_article
from harness.specs.data import Data
from harness.specs.evidence import STORED, Cost
from harness.specs.method import Method, Task


class MethodError(Exception):
    """A method returned something other than what the harness asked for."""


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
        tensors = {name: form_of(value) for name, value in task.model.state_dict().items()}

        def make() -> nn.Module:
            with contained():
                return method.unlearn(task, self.config)

        with seeded(self.seed, f"{method.name}/global"), torch.enable_grad():
            model, cost = costed(
                "unlearn", make, self.device, self.unit, most_passes - before.passes
            )
        if not isinstance(model, nn.Module):
            raise MethodError(_not_a_model(model))
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
            raise MethodError(f"its at_training returned {shown(stored)}; expected named tensors")
        return stored, cost


def _not_a_model(returned: object) -> str:
    """What is wrong with a result that is no model; it names the type, whose repr may be huge."""
    found = "None" if returned is None else with_article(type(returned).__name__)
    text = f"it returned {found}; expected the unlearned model, an nn.Module"
    if returned is None:
        text += "; did you forget `return`?"
    if isinstance(returned, Mapping) and all(map(torch.is_tensor, returned.values())):
        text += "; return the model, not its state_dict()"
    return text


def call_of(
    models: Models,
    method: Method,
    config: Any,
    original: Mapping[str, Tensor],
    *,
    rows: Split,
    probe: Tensor,
    seed: int,
) -> MethodCall:
    """The call of a method on the original's weights, with only what the method may see."""
    network = models.network
    kept = None
    if method.at_training is not None:
        kept = models.data_of(torch.cat([rows.forget, rows.retain]).sort().values)
    task = Task(
        model=network.loaded(original),
        retain=models.data_of(rows.visible),
        forget=models.data_of(rows.forget),
        held_out=models.data_of(rows.held_out),
        untrained=network.series(seed, f"{method.name}/untrained"),
        scenario=copy.deepcopy(models.scenario),
        generator=torch.Generator().manual_seed(derive(seed, method.name)),
    )
    return MethodCall(
        method=method,
        config=copy.deepcopy(config),  # a method can change even a frozen one
        task=task,
        before=None if kept is None else network.loaded(original),
        kept=kept,
        probe=models.data_of(probe).images,
        seed=seed,
        device=models.device,
        unit=network.unit,
    )
