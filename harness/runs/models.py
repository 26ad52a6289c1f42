"""Makes the models of a scenario: the original, the retrained ones, the unlearned ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.backbones.build import first_working
from harness.backbones.candidates import Design, designs
from harness.datasets.builtin import channel_statistics, fingerprint, load_dataset
from harness.datasets.splits import Split, split
from harness.datasets.vetting import class_count
from harness.runs.commission import Commission, Product, costed, finished, probed
from harness.runs.networks import Network
from harness.seeds import derive, seeded, stream
from harness.specs.catalog import Catalog
from harness.specs.data import Data
from harness.specs.method import Method, Task
from harness.specs.scenario import Replicate, Scenario
from harness.training.loop import predict, train


@dataclass(frozen=True, eq=False)
class Material:
    """A data set on the CPU, and what a backbone must know of it."""

    train: Data
    test: Data
    fingerprint: str
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()
    """What was found, a line each, for the user to see before anything is trained."""

    @classmethod
    def load(cls, name: str, catalog: Catalog, root: Path) -> Material:
        """Reads a data set once; images stay uint8."""
        notes: list[str] = []
        train_set, test_set = load_dataset(name, catalog.datasets, root, notes.append)
        mean, std = channel_statistics(train_set)
        return cls(
            train_set,
            test_set,
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
        for replicate in replicates:
            self.split(scenario, replicate)


@dataclass(frozen=True, eq=False)
class Workshop:
    """Where the models of one scenario are made; all weights that go in or out are on the CPU.

    So are the data: what a model needs of them is copied to the device when it is made.
    """

    scenario: Scenario
    material: Material
    catalog: Catalog
    device: torch.device

    @cached_property
    def designs(self) -> list[Design]:
        """The ways to build the scenario's network, the first choice first; none is tried yet."""
        return designs(
            self.scenario.backbone,
            self.catalog.backbones,
            shape=self.material.train.shape,
            classes=self.material.classes,
            stem=self.scenario.stem,
        )

    def choice(self) -> int:
        """Which of the designs is the first that works; raises UserError where none does."""
        material = self.material
        return first_working(
            self.scenario.backbone,
            self.designs,
            shape=material.train.shape,
            classes=material.classes,
        )

    def choose(self, choice: int) -> Design:
        """Takes a design that was tried elsewhere."""
        vars(self)["design"] = self.designs[choice]
        return self.design

    @cached_property
    def design(self) -> Design:
        """How the scenario's network is built; found out once, by a trial."""
        return self.designs[self.choice()]

    @property
    def network(self) -> Network:
        """How models of the scenario are made; it leads to no data."""
        material = self.material
        return Network(self.design, material.mean, material.std, material.train.shape, self.device)

    def trained(self, rows: Tensor, probe: Tensor, seed: int, purpose: str) -> Product:
        """A model that the scenario's recipe trained on these rows, tried on those of the probe."""
        network, recipe, data = self.network, self.scenario.recipe, self._rows(rows)

        def make() -> nn.Module:
            model = network.fresh(seed, f"{purpose}/weights")
            return train(model, data, recipe, generator=stream(seed, f"{purpose}/batches"))

        with seeded(seed, f"{purpose}/training"):
            model, cost = costed("train", make, self.device, network.unit)
        return finished(model, self._rows(probe).images, cost)

    def commission(
        self,
        method: Method,
        config: Any,
        original: Mapping[str, Tensor],
        *,
        rows: Split,
        probe: Tensor,
        seed: int,
    ) -> Commission:
        """All that a method needs to make a model of the original's weights, and nothing else."""
        network, kept = self.network, None
        if method.at_training is not None:
            kept = self._rows(torch.cat([rows.forget, rows.retain]).sort().values)
        task = Task(
            model=network.loaded(original),
            retain=self._rows(rows.visible),
            forget=self._rows(rows.forget),
            held_out=self._rows(rows.held_out),
            untrained=network.series(seed, f"{method.name}/untrained"),
            scenario=copy.deepcopy(self.scenario),
            generator=torch.Generator().manual_seed(derive(seed, method.name)),
        )
        return Commission(
            method=method,
            config=copy.deepcopy(config),  # frozen is a promise: the record must say what was asked
            task=task,
            before=None if kept is None else network.loaded(original),
            kept=kept,
            probe=self._rows(probe).images,
            seed=seed,
            device=self.device,
            unit=network.unit,
        )

    def outputs(self, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The logits on the whole train set and on the test set, on the CPU."""
        device = self.device
        model = self.network.loaded(weights).to(memory_format=torch.channels_last)  # as the images
        train_set, test_set = self.material.train.to(device), self.material.test.to(device)
        return predict(model, train_set).cpu(), predict(model, test_set).cpu()

    def probed(self, weights: Mapping[str, Tensor], probe: Tensor) -> Tensor:
        """The logits ``(n, classes)`` of the model of these weights on these rows, on the CPU."""
        return probed(self.network.loaded(weights), self._rows(probe).images)

    def _rows(self, rows: Tensor) -> Data:
        return self.material.train.select(rows).to(self.device)


def model_seed(replicate: Replicate) -> int:
    """One number for both seeds of a replicate, so that no two replicates share a stream."""
    return derive(replicate.seed, f"replicate of forget seed {replicate.forget_seed}")
