"""Does one step: makes a model, runs it over the splits, writes its record, or measures it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.datasets.splits import Split, training_rows
from harness.errors import UserError
from harness.isolation.processes import Family
from harness.records.lines import FINISHED, Measurement
from harness.records.parsing import fields_of
from harness.records.store import Store, digest
from harness.records.stored import MEASUREMENT, RUN
from harness.runs.commission import PROBE, Product, difference
from harness.runs.environment import circumstances, now
from harness.runs.lineage import outcome
from harness.runs.models import Material, Workshop, model_seed
from harness.runs.plan import LOGITS, MODEL, Row, Step
from harness.runs.recording import record, require_one_lineage
from harness.specs.catalog import Catalog
from harness.specs.protocol import Cost, Estimate, Evidence, Labels, Outputs, Protocol
from harness.specs.scenario import ORIGINAL, REFERENCES, RETRAIN, Scenario


class ProtocolError(Exception):
    """What a protocol returned is not what it declared."""


class EditedError(UserError):
    """A model was made by other code than its name says: nothing is kept of it."""


LOGITS_OF_PROBE = ".probe"
"""Where a model's own logits on a few images lie beside its weights; no weight has this name."""


class Bench:
    """A store, a device, and the data sets and workshops that were asked for so far."""

    def __init__(self, store: Store, catalog: Catalog, data: Path, device: torch.device) -> None:
        self.store = store
        self.isolated = False
        """Whether this process does one step alone and then ends."""
        self._catalog = catalog
        self._data = data.absolute()  # a plugin may change the working directory
        self._device = device
        self._materials: dict[str, Material] = {}
        self._workshops: dict[str, Workshop] = {}

    def material(self, dataset: str) -> Material:
        """The data set, on the CPU; read once."""
        if dataset not in self._materials:
            self._materials[dataset] = Material.load(dataset, self._catalog, self._data)
        return self._materials[dataset]

    def notes(self) -> list[str]:
        """What was found in the data sets that were read so far, for the user to see."""
        return [note for material in self._materials.values() for note in material.notes]

    def workshop(self, scenario: Scenario) -> Workshop:
        """Where the scenario's models are made; its backbone is tried once."""
        if scenario.name not in self._workshops:
            self._workshops[scenario.name] = Workshop(
                scenario, self.material(scenario.dataset), self._catalog, self._device
            )
        return self._workshops[scenario.name]

    def try_backbones(
        self, scenarios: Iterable[Scenario], *, apart: bool
    ) -> list[tuple[Scenario, str]]:
        """Finds out how each scenario's network is built; what was changed of it, beside each.

        ``apart``: in processes of their own, so that this one computes nothing. Raises UserError
        for a network that cannot work.
        """
        found = []
        for scenario in scenarios:
            workshop = self.workshop(scenario)
            choice = _tried(workshop) if apart else workshop.choice()
            found.append((scenario, workshop.choose(choice).change))
        return found

    def do(
        self,
        step: Step,
        *,
        most_passes: float = math.inf,
        edited: Callable[[], str] = lambda: "",
    ) -> str:
        """Computes the step and puts its result into the store; call it under the step's lock.

        ``edited`` names a module of the model's source that it found edited. Gives what is to be
        told of a model that its weights do not tell, if anything is. Raises CorruptionError where a
        result that it builds on is broken, or was made of other numbers than its neighbours,
        OverBudgetError where a method takes more passes than granted, and EditedError.
        """
        if step.kind == MODEL:
            return self._make(step, most_passes, edited)
        if step.kind == LOGITS:
            return self._predict(step)
        if step.kind == RUN:
            record(step, self.store)
        else:
            self._measure(step)
        return ""

    def _make(self, step: Step, most_passes: float, edited: Callable[[], str]) -> str:
        where = circumstances(self._device, isolated=self.isolated)
        if step.row.method in REFERENCES:
            product, behind = self._reference(step.row), ""
        else:
            product, behind = self._unlearned(step, most_passes)
        if module := edited():
            raise EditedError(f"{module} was edited while it ran; the same command runs it again")
        facts = {
            "row": str(step.row),
            "changed": product.changed,
            "cost": dataclasses.asdict(product.cost),
            "circumstances": {**where, "finished": now()},
            "digest": digest(product.weights),
            "original": behind,
        }
        tensors = {**product.weights, LOGITS_OF_PROBE: product.probe}
        self.store.write(MODEL, step.key, facts, tensors)
        return product.changed

    def _reference(self, row: Row) -> Product:
        workshop, purpose = self.workshop(row.scenario), row.method
        if row.method == ORIGINAL:
            rows = training_rows(row.scenario, row.replicate, len(workshop.material.train))
            seed = row.replicate.seed
        else:
            rows, seed = self._split(row).retain, model_seed(row.replicate)
            purpose = f"{RETRAIN}/{row.draw}"
        product = workshop.trained(rows, self._probe(row), seed, purpose)
        _require_unchanged(row, product.changed)
        return product

    def _unlearned(self, step: Step, most_passes: float) -> tuple[Product, str]:
        row, original = step.row, self._weights(step.needs[0])
        behind = digest(original)  # before a method can change it
        commission = self.workshop(row.scenario).commission(
            self._catalog.methods[row.method],
            row.config,
            original,
            rows=self._split(row),
            probe=self._probe(row),
            seed=model_seed(row.replicate),
        )
        if self.isolated:  # nothing may lead the method to more than its task
            self._materials.clear()
            self._workshops.clear()
        return commission.carry_out(most_passes), behind

    def _weights(self, model: tuple[str, str]) -> dict[str, Tensor]:
        tensors = self.store.read(*model).tensors
        return {name: value for name, value in tensors.items() if name != LOGITS_OF_PROBE}

    def _probe(self, row: Row) -> Tensor:
        """The rows ``(n,)`` that a model is tried on; they hang on what names the model alone."""
        if row.method == ORIGINAL:
            count = len(self.material(row.scenario.dataset).train)
            return training_rows(row.scenario, row.replicate, count)[: 2 * PROBE]
        rows = self._split(row)
        others = rows.retain if row.method == RETRAIN else rows.visible
        return torch.cat([rows.forget[:PROBE], others[:PROBE]])

    def _predict(self, step: Step) -> str:
        made = self.store.read(*step.needs[0])
        changed, found = str(made.facts.get("changed", "")), ""
        facts = {"row": str(step.row), "finite": False, "model": made.facts.get("digest", "")}
        logits: dict[str, Tensor] = {}
        if not changed:  # else no model that the harness can build has these weights
            workshop, weights = self.workshop(step.row.scenario), dict(made.tensors)
            own = weights.pop(LOGITS_OF_PROBE)
            found = difference(own, workshop.probed(weights, self._probe(step.row)))
            if step.row.method in REFERENCES:
                _require_unchanged(step.row, found)
        if not changed and not found:
            train, test = workshop.outputs(weights)
            facts["finite"] = bool(train.isfinite().all() and test.isfinite().all())
            logits = {"train": train, "test": test}
        facts |= {"changed": changed or found, "digest": digest(logits)}
        self.store.write(LOGITS, step.key, facts, logits)
        return found

    def _measure(self, step: Step) -> None:
        assert step.protocol is not None
        require_one_lineage(step, self.store)
        run = self.store.read(*step.needs[0]).facts
        if run["line"]["status"] != FINISHED:
            nothing = Estimate(None, note=run["line"]["status"])
            estimates = {metric.name: nothing for metric in step.protocol.metrics}
        else:
            estimates = checked(step.protocol, self._evidence(step.row, run))
        line = Measurement(
            run_id=step.needs[0][1],
            protocol=step.protocol.name,
            version=step.protocol.version,
            estimates=estimates,
            outcome=outcome(run["line"]),
        )
        self.store.write(MEASUREMENT, step.key, {"line": fields_of(line)}, None)

    def _evidence(self, row: Row, run: Mapping[str, Any]) -> Evidence:
        rows, material = self._split(row), self.material(row.scenario.dataset)
        train, test = material.train.labels.cpu(), material.test.labels.cpu()
        others = [
            key
            for draw, key in enumerate(run["retrained"])
            if (row.method, row.draw) != (RETRAIN, draw)
        ]
        return Evidence(
            target=self._outputs(run["logits"], rows),
            labels=Labels(train[rows.forget], train[rows.retain], test[rows.test]),
            nonmembers=rows.nonmembers,
            retrained=tuple(self._outputs(key, rows) for key in others),
            cost=Cost(**run["line"]["cost"]),
        )

    def _outputs(self, key: str, rows: Split) -> Outputs:
        logits: Mapping[str, Tensor] = self.store.read(LOGITS, key).tensors
        train = logits["train"]
        return Outputs(train[rows.forget], train[rows.retain], logits["test"][rows.test])

    def _split(self, row: Row) -> Split:
        return self.material(row.scenario.dataset).split(row.scenario, row.replicate)


def _tried(workshop: Workshop) -> int:
    """Which of a workshop's designs works, as found out in a process of its own."""

    def look() -> int | str:
        try:
            return workshop.choice()
        except UserError as error:
            return str(error)

    with Family() as family:
        ending = family.ask(look)
    if isinstance(ending.said, int):
        return ending.said
    name = workshop.scenario.backbone
    raise UserError(ending.said or f"backbone {name!r} cannot be tried: {ending.epitaph}")


def _require_unchanged(row: Row, changed: str) -> None:
    """Raises UserError for a backbone whose state dict does not tell what its network computes."""
    if changed:
        raise UserError(
            f"backbone {row.scenario.backbone!r} cannot be used: {changed}; all that its logits "
            f"depend on must be in its state dict"
        )


def checked(protocol: Protocol, evidence: Evidence) -> dict[str, Estimate]:
    """The protocol's estimates.

    Raises ProtocolError where they are not one finite Estimate for each metric that it declares.
    """
    estimates = protocol.measure(evidence)
    declared = [metric.name for metric in protocol.metrics]
    if not isinstance(estimates, Mapping) or sorted(estimates) != sorted(declared):
        found = sorted(estimates) if isinstance(estimates, Mapping) else repr(estimates)
        raise ProtocolError(f"it measured {found}; it declares {sorted(declared)}")
    for name, estimate in estimates.items():
        value = estimate.value if isinstance(estimate, Estimate) else math.nan
        if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
            raise ProtocolError(f"its {name} is {estimate!r}; expected a finite Estimate, or none")
    return {name: estimates[name] for name in declared}
