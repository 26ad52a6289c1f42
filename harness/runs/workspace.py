"""What all steps of a command share: store, device, data sets and models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from harness.errors import UserError
from harness.isolation.processes import Processes
from harness.records.store import Store
from harness.runs.models import LoadedDataset, Models
from harness.specs.catalog import Catalog
from harness.specs.scenario import Scenario


class Workspace:
    """A store, a device, and the data sets and models requested so far."""

    def __init__(self, store: Store, catalog: Catalog, data: Path, device: torch.device) -> None:
        self.store = store
        self.catalog = catalog
        self.device = device
        self._data = data.absolute()  # a plugin may change the working directory
        self._datasets: dict[str, LoadedDataset] = {}
        self._models: dict[str, Models] = {}
        self._united: dict[str, Models] = {}

    def dataset(self, name: str) -> LoadedDataset:
        """The data set, on the CPU; each is read only once."""
        if name not in self._datasets:
            self._datasets[name] = LoadedDataset.load(name, self.catalog, self._data)
        return self._datasets[name]

    def labels(self, name: str) -> Tensor:
        """The labels ``(N,)`` of a data set's train set, followed by those of its test set."""
        dataset = self.dataset(name)
        return torch.cat([dataset.train.labels, dataset.test.labels]).cpu()

    def notes(self) -> list[str]:
        """Remarks for the user on the data sets read so far."""
        return [note for dataset in self._datasets.values() for note in dataset.notes]

    def models(self, scenario: Scenario) -> Models:
        """The maker of the scenario's models; its backbone is tested only once."""
        if scenario.name not in self._models:
            self._models[scenario.name] = Models(
                scenario, self.dataset(scenario.dataset), self.catalog, self.device
            )
        return self._models[scenario.name]

    def united(self, scenario: Scenario) -> Models:
        """The maker of models on train and test set together, with the same network."""
        if scenario.name not in self._united:
            models = self.models(scenario)
            united = replace(models, dataset=models.dataset.united())
            united.choose(models.designs.index(models.design))
            self._united[scenario.name] = united
        return self._united[scenario.name]

    def forget_data(self) -> None:
        """Drops all data sets, so that a method can reach no data but its task's."""
        self._datasets.clear()
        self._models.clear()
        self._united.clear()

    def try_backbones(
        self, scenarios: Iterable[Scenario], *, in_process: bool
    ) -> list[tuple[Scenario, str]]:
        """Chooses how each scenario's network is built; returns what was changed to make it work.

        Unless ``in_process``, each network is tested in another process, so that this one computes
        nothing. Raises UserError for a network that cannot work.
        """
        found = []
        for scenario in scenarios:
            models = self.models(scenario)
            choice = models.choice() if in_process else _choice_elsewhere(models)
            found.append((scenario, models.choose(choice).change))
        return found


def _choice_elsewhere(models: Models) -> int:
    """The index of the first design that works, found in another process."""

    def choice_or_mistake() -> int | str:
        try:
            return models.choice()
        except UserError as error:
            return str(error)

    with Processes() as processes:
        ending = processes.call(choice_or_mistake)
    if isinstance(ending.returned, int):
        return ending.returned
    name = models.scenario.backbone
    raise UserError(ending.returned or f"backbone {name!r} cannot be tried: {ending.cause}")
