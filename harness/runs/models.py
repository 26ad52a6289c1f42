"""Makes the models of a scenario: builds and trains networks, prepares methods, computes logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.backbones.build import Design, designs
from harness.backbones.trial import first_working
from harness.datasets.builtin import channel_statistics, fingerprint, load_dataset
from harness.datasets.splits import Split, is_repeatable, require_same_rows, split
from harness.datasets.vetting import class_count
from harness.errors import UnknownNameError
from harness.plugins.catalog import unprovided
from harness.runs.product import Product, costed, finished, probed
from harness.seeds import derive, seeded, stream
from harness.specs.catalog import Catalog
from harness.specs.data import Data, join
from harness.specs.scenario import Replicate, Scenario
from harness.training.flops import forward_flops
from harness.training.loop import predict, train


@dataclass(frozen=True, eq=False)
class LoadedDataset:
    """A data set on the CPU, and what is needed to build a network for it."""

    train: Data
    test: Data
    fingerprint: str
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()
    """Remarks on its contents, one line each, printed before anything is trained."""

    @classmethod
    def load(cls, name: str, catalog: Catalog, root: Path) -> LoadedDataset:
        """Reads a data set; images stay uint8."""
        notes: list[str] = []
        try:
            train_set, test_set = load_dataset(name, catalog.datasets, root, notes.append)
        except UnknownNameError as error:
            raise unprovided("dataset", name, catalog, error) from None
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

    def united(self) -> LoadedDataset:
        """The same with train and test set, in this order, as its train set, and no test set."""
        both = join(self.train, self.test)
        every = Data.of(both.images, both.labels, classes=self.train.classes)
        return replace(self, train=every, test=every.select(every.index[:0]))

    def split(self, scenario: Scenario, replicate: Replicate) -> Split:
        """The rows of one replicate; raises UserError if the data set does not have them."""
        labels = self.train.labels, self.test.labels
        return split(scenario, replicate, *labels, self.train.classes)

    def require_rows(self, scenario: Scenario, replicates: Sequence[Replicate]) -> None:
        """Raises UserError if a replicate's rows do not exist or change; call it before training.

        A plugin's rule selects twice, because one that ignores its generator gives other rows.
        """
        for replicate in replicates:
            rows = self.split(scenario, replicate)
            if not is_repeatable(scenario.forget):
                require_same_rows(scenario, rows, self.split(scenario, replicate))


@dataclass(frozen=True, eq=False)
class Network:
    """Builds the networks of one scenario; it contains no images, so a method may have it."""

    design: Design
    mean: tuple[float, ...]
    """The mean of each channel, with pixels in [0, 1]."""
    std: tuple[float, ...]
    shape: tuple[int, int, int]
    """Channels, height and width of one image."""
    device: torch.device

    def fresh(self, seed: int, purpose: str) -> nn.Module:
        """A newly initialised model on the device, determined by seed and purpose."""
        with seeded(seed, purpose):
            model = self.design.build(self.mean, self.std)
        return model.to(self.device)

    def series(self, seed: int, purpose: str) -> Callable[[], nn.Module]:
        """A function that returns a different newly initialised model at each call."""
        drawn = 0

        def untrained() -> nn.Module:
            nonlocal drawn
            drawn += 1
            return self.fresh(seed, f"{purpose}/{drawn}")

        return untrained

    def loaded(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """The model with these weights, in eval mode on the device."""
        model = self.fresh(0, "to be overwritten")
        model.load_state_dict(dict(weights))
        return model.eval()

    @cached_property
    def unit(self) -> int:
        """The work of one forward of one image."""
        image = torch.zeros(1, *self.shape, device=self.device)
        return forward_flops(self.fresh(0, "to be weighed"), image)


@dataclass(frozen=True, eq=False)
class Models:
    """Makes the models of one scenario.

    Weights are given and returned on the CPU, where the data are too; only what a model needs is
    copied to the device.
    """

    scenario: Scenario
    dataset: LoadedDataset
    catalog: Catalog
    device: torch.device

    @cached_property
    def designs(self) -> list[Design]:
        """The ways to build the scenario's network, untested and in order of preference."""
        name = self.scenario.backbone
        try:
            return designs(
                name,
                self.catalog.backbones,
                shape=self.dataset.train.shape,
                classes=self.dataset.classes,
                stem=self.scenario.stem,
            )
        except UnknownNameError as error:
            raise unprovided("backbone", name, self.catalog, error) from None

    def choice(self) -> int:
        """The index of the first design that works; raises UserError if none does."""
        dataset = self.dataset
        return first_working(
            self.scenario.backbone,
            self.designs,
            shape=dataset.train.shape,
            classes=dataset.classes,
        )

    def choose(self, choice: int) -> Design:
        """Selects a design that was tested in another process."""
        vars(self)["design"] = self.designs[choice]
        return self.design

    @cached_property
    def design(self) -> Design:
        """How the scenario's network is built: the first design that works."""
        return self.designs[self.choice()]

    @property
    def network(self) -> Network:
        """Builds the scenario's networks; it has no reference to the data."""
        dataset = self.dataset
        return Network(self.design, dataset.mean, dataset.std, dataset.train.shape, self.device)

    def trained(self, rows: Tensor, probe: Tensor, seed: int, purpose: str) -> Product:
        """A model trained by the recipe on these rows, with its logits on the probe rows."""
        network = self.network
        recipe = self.scenario.recipe
        data = self.data_of(rows)

        def make() -> nn.Module:
            model = network.fresh(seed, f"{purpose}/weights")
            return train(model, data, recipe, generator=stream(seed, f"{purpose}/batches"))

        with seeded(seed, f"{purpose}/training"):
            model, cost = costed("train", make, self.device, network.unit)
        return finished(model, self.data_of(probe).images, cost)

    def outputs(self, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The logits on the whole train set and on the whole test set, on the CPU."""
        device = self.device
        model = self.network.loaded(weights).to(memory_format=torch.channels_last)  # as the images
        train_logits = predict(model, self.dataset.train.to(device)).cpu()
        test_logits = predict(model, self.dataset.test.to(device)).cpu()
        return train_logits, test_logits

    def probed(self, weights: Mapping[str, Tensor], probe: Tensor) -> Tensor:
        """The logits ``(n, classes)`` of the model with these weights on these rows, on the CPU."""
        return probed(self.network.loaded(weights), self.data_of(probe).images)

    def data_of(self, rows: Tensor) -> Data:
        """These rows of the train set, on the device."""
        return self.dataset.train.select(rows).to(self.device)


def model_seed(replicate: Replicate) -> int:
    """A seed derived from both seeds of a replicate, so that no two replicates share a stream."""
    return derive(replicate.seed, f"replicate of forget seed {replicate.forget_seed}")
