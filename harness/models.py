"""Makes the models of a scenario: the original, the retrained ones, the unlearned ones."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from harness.backbones import Design, design_backbone
from harness.data import Data
from harness.datasets import channel_statistics, fingerprint, load_dataset
from harness.evidence import STORED, Cost
from harness.forgetting import GivenRows
from harness.isolation import contained
from harness.passes import FlopCounter, forward_flops
from harness.seeds import derive, seeded, stream
from harness.specs import Catalog, Method, Recipe, Replicate, Scenario, Task
from harness.splits import Split, split
from harness.training import predict, synchronised, train
from harness.vetting import class_count

Made = TypeVar("Made")


class MethodError(Exception):
    """What a method returned is not what the harness asked for."""


class ChangedError(MethodError):
    """It returned a model of another architecture, whose weights alone say nothing."""

    def __init__(self, reason: str, cost: Cost) -> None:
        super().__init__(reason)
        self.cost = cost


@dataclass(frozen=True, eq=False)
class Material:
    """A data set on the device, and what a backbone must know of it."""

    train: Data
    test: Data
    fingerprint: str
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()
    """What was found, a line each, for the user to see before anything is trained."""

    @classmethod
    def load(cls, name: str, catalog: Catalog, root: Path, device: torch.device) -> Material:
        """Reads a data set once; images stay uint8."""
        notes: list[str] = []
        train_set, test_set = load_dataset(name, catalog.datasets, root, notes.append)
        mean, std = channel_statistics(train_set)
        return cls(
            train_set.to(device),
            test_set.to(device),
            fingerprint(train_set, test_set),
            class_count(train_set, test_set),
            tuple(mean),
            tuple(std),
            tuple(notes),
        )

    def split(self, scenario: Scenario, replicate: Replicate) -> Split:
        """The rows of one replicate; raises UserError where the scenario asks for what is not."""
        labels = self.train.labels, self.test.labels
        return split(scenario, replicate, *labels, self.train.classes)

    def require_rows(self, scenario: Scenario, replicates: Sequence[Replicate]) -> None:
        """Raises UserError, before anything is trained, where a replicate's rows are not there."""
        drawn = isinstance(scenario.forget, GivenRows) and scenario.held_out  # by each seed anew
        for replicate in replicates if drawn else replicates[:1]:
            self.split(scenario, replicate)


@dataclass(frozen=True, eq=False)
class Workshop:
    """Where the models of one scenario are made; all weights that go in or out are on the CPU."""

    scenario: Scenario
    material: Material
    catalog: Catalog

    @cached_property
    def design(self) -> Design:
        """How the scenario's network is built; found out once, by a trial."""
        return design_backbone(
            self.scenario.backbone,
            self.catalog.backbones,
            shape=self.material.train.shape,
            classes=self.material.classes,
            stem=self.scenario.stem,
        )

    def untrained(self, seed: int, purpose: str) -> nn.Module:
        """A freshly initialised model on the device, the same one for the same seed and purpose."""
        design = self.design
        with seeded(seed, purpose):
            model = design.build(self.material.mean, self.material.std)
        return model.to(self.material.train.device)

    def trained(self, rows: Tensor, seed: int, purpose: str) -> tuple[dict[str, Tensor], Cost]:
        """The weights of a model that the scenario's recipe trained on these rows."""
        data = self.material.train.select(rows)
        recipe = self.scenario.recipe

        def make() -> nn.Module:
            model = self.untrained(seed, f"{purpose}/weights")
            return train_by(recipe, model, data, stream(seed, f"{purpose}/batches"))

        with seeded(seed, f"{purpose}/training"):
            model, cost = self._costed("train", make)
        return model.state_dict(), cost

    def unlearned(
        self,
        method: Method,
        config: Any,
        original: Mapping[str, Tensor],
        split: Split,
        seed: int,
        *,
        most_passes: float = math.inf,
    ) -> tuple[dict[str, Tensor], Cost]:
        """The weights that a method makes of the original's; it can change nothing but its task.

        Raises MethodError where it returns no model, ChangedError where it returns one of another
        architecture, and OverBudgetError where it takes more passes than granted.
        """
        stored, before = self._stored(method, original, split, seed, most_passes)
        task = replace(self._task(original, split, seed, purpose=method.name), stored=stored)
        kinds = {name: type(part) for name, part in task.model.named_modules()}
        own = copy.deepcopy(config)  # frozen is a promise: the record must say what was asked

        def make() -> nn.Module:
            with contained():
                return method.unlearn(task, own)

        with seeded(seed, f"{method.name}/global"), torch.enable_grad():
            model, cost = self._costed("unlearn", make, most_passes - before.passes)
        if not isinstance(model, nn.Module):
            raise MethodError(f"it returned {model!r}; expected the unlearned model, an nn.Module")
        cost, change = added(before, cost), changed_architecture(model, kinds, original)
        if change:
            raise ChangedError(change, cost)
        return model.state_dict(), cost

    def outputs(self, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The logits on the whole train set and on the test set, on the CPU."""
        model = self._loaded(weights).to(memory_format=torch.channels_last)  # as predict's images
        return predict(model, self.material.train).cpu(), predict(model, self.material.test).cpu()

    def _loaded(self, weights: Mapping[str, Tensor]) -> nn.Module:
        model = self.untrained(0, "to be overwritten")
        model.load_state_dict(dict(weights))
        return model.eval()

    def _task(
        self, original: Mapping[str, Tensor], split: Split, seed: int, *, purpose: str
    ) -> Task:
        drawn = 0

        def untrained() -> nn.Module:
            nonlocal drawn
            drawn += 1
            return self.untrained(seed, f"{purpose}/untrained/{drawn}")

        return Task(
            model=self._loaded(original),
            retain=self.material.train.select(split.visible),
            forget=self.material.train.select(split.forget),
            held_out=self.material.train.select(split.held_out),
            untrained=untrained,
            scenario=copy.deepcopy(self.scenario),
            generator=torch.Generator().manual_seed(derive(seed, purpose)),
        )

    def _stored(
        self,
        method: Method,
        original: Mapping[str, Tensor],
        split: Split,
        seed: int,
        most_passes: float,
    ) -> tuple[Mapping[str, Tensor], Cost]:
        """What the method keeps of the original's training, before anyone asks to forget."""
        look = method.at_training
        if look is None:
            return {}, Cost({}, 0)
        model = self._loaded(original)
        data = self.material.train.select(torch.cat([split.forget, split.retain]).sort().values)

        def make() -> Mapping[str, Tensor]:
            with contained():
                return look(model, data)

        with seeded(seed, f"{method.name}/stored"), torch.enable_grad():
            stored, cost = self._costed(STORED, make, most_passes)
        if not isinstance(stored, Mapping) or not all(map(torch.is_tensor, stored.values())):
            raise MethodError(f"its at_training returned {stored!r:.60}; expected named tensors")
        return stored, cost

    def _costed(
        self, phase: str, make: Callable[[], Made], most_passes: float = math.inf
    ) -> tuple[Made, Cost]:
        device = self.material.train.device
        image = torch.zeros(1, *self.material.train.shape, device=device)
        unit = forward_flops(self.untrained(0, "to be weighed"), image)
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


def changed_architecture(
    model: nn.Module, kinds: Mapping[str, type[nn.Module]], original: Mapping[str, Tensor]
) -> str:
    """What of a model is not as it was in the original, beside weights; empty where all is."""
    kind = type(model)
    if kind is not kinds[""]:
        return f"it returned a {kind.__name__}; expected the original's {kinds[''].__name__}"
    found = {name: type(part) for name, part in model.named_modules()}
    if found != kinds:
        odd = sorted(name for name, _ in found.items() ^ kinds.items())
        return f"it changed the architecture, first in {odd[0]}"
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    expected = {name: value.shape for name, value in original.items()}
    if shapes != expected:
        odd = sorted(name for name, _ in shapes.items() ^ expected.items())
        return f"its state dict differs from the original's, first in {odd[0]}"
    for name, part in model.named_modules():
        if any(hooks for key, hooks in vars(part).items() if key.endswith("_hooks")):
            return f"it left a hook on {name or 'the model'}"
        if "forward" in vars(part):
            return f"it replaced forward of {name or 'the model'}"
    return ""


def train_by(recipe: Recipe, model: nn.Module, data: Data, generator: torch.Generator) -> nn.Module:
    """The model after the recipe's training on the data."""
    return train(
        model,
        data,
        epochs=recipe.epochs,
        lr=recipe.lr,
        generator=generator,
        batch=recipe.batch,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        schedule=recipe.schedule,
        augmentation=recipe.augmentation,
    )


def model_seed(replicate: Replicate) -> int:
    """One number for both seeds of a replicate, so that no two replicates share a stream."""
    return derive(replicate.seed, f"replicate of forget seed {replicate.forget_seed}")
