"""Does one step: makes a model, runs it over the splits, writes its record, or measures it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.circumstances import circumstances, now
from harness.evidence import Cost, Estimate, Evidence, Labels, Outputs, Protocol
from harness.lineage import broken, outcome
from harness.lineage import facts as facts_of
from harness.models import ChangedError, Material, Workshop, model_seed
from harness.plan import CODE, FAILURE, LOGITS, MEASUREMENT, MODEL, RUN, Row, Step, run_id_of
from harness.records import CHANGED, CLASS_NAME, DIVERGED, FAILED, FINISHED, Measurement, Run, plain
from harness.specs import ORIGINAL, REFERENCES, RETRAIN, Catalog, Scenario
from harness.splits import Split, training_rows
from harness.store import CorruptionError, Store, digest


class ProtocolError(Exception):
    """What a protocol returned is not what it declared."""


class Bench:
    """A store, a device, and the data sets and workshops that were asked for so far."""

    def __init__(self, store: Store, catalog: Catalog, data: Path, device: torch.device) -> None:
        self.store = store
        self.most_passes = math.inf
        """A method that takes more is stopped."""
        self.isolated = False
        """Whether this process does one step and ends; the records say so."""
        self._catalog = catalog
        self._data = data.absolute()  # a plugin may change the working directory
        self._device = device
        self._materials: dict[str, Material] = {}
        self._workshops: dict[str, Workshop] = {}

    def material(self, dataset: str) -> Material:
        """The data set on the device; read once."""
        if dataset not in self._materials:
            self._materials[dataset] = Material.load(
                dataset, self._catalog, self._data, self._device
            )
        return self._materials[dataset]

    def notes(self) -> list[str]:
        """What was found in the data sets that were read so far, for the user to see."""
        return [note for material in self._materials.values() for note in material.notes]

    def workshop(self, scenario: Scenario) -> Workshop:
        """Where the scenario's models are made; its backbone is tried once."""
        if scenario.name not in self._workshops:
            material = self.material(scenario.dataset)
            self._workshops[scenario.name] = Workshop(scenario, material, self._catalog)
        return self._workshops[scenario.name]

    def do(self, step: Step) -> None:
        """Computes the step and puts its result into the store; call it under the step's lock.

        Raises CorruptionError where a result that it builds on is broken, or was made of other
        numbers than its neighbours.
        """
        work = {
            MODEL: self._make,
            LOGITS: self._predict,
            RUN: self._record,
            MEASUREMENT: self._measure,
        }
        work[step.kind](step)

    def _make(self, step: Step) -> None:
        row, workshop = step.row, self.workshop(step.row.scenario)
        material, changed, behind = workshop.material, "", ""
        if row.method == ORIGINAL:
            rows = training_rows(row.scenario, row.replicate, len(material.train))
            weights, cost = workshop.trained(rows, row.replicate.seed, ORIGINAL)
        elif row.method == RETRAIN:
            rows = self._split(row).retain
            purpose = f"{RETRAIN}/{row.draw}"
            weights, cost = workshop.trained(rows, model_seed(row.replicate), purpose)
        else:
            original = self.store.read(*step.needs[0]).tensors
            behind = digest(original)  # before a method can change it
            method = self._catalog.methods[row.method]
            try:
                weights, cost = workshop.unlearned(
                    method,
                    row.config,
                    original,
                    self._split(row),
                    model_seed(row.replicate),
                    most_passes=self.most_passes,
                )
            except ChangedError as error:
                weights, cost, changed = {}, error.cost, str(error)
        facts = {
            "row": str(row),
            "changed": changed,
            "cost": dataclasses.asdict(cost),
            "circumstances": {**circumstances(self._device), "isolated": self.isolated},
            "digest": digest(weights),
            "original": behind,
        }
        self.store.write(MODEL, step.key, facts, weights)

    def _predict(self, step: Step) -> None:
        made = self.store.read(*step.needs[0])
        if made.facts.get("changed"):  # no model that the harness can build has these weights
            facts = {"row": str(step.row), "finite": False, "digest": "", "model": ""}
            self.store.write(LOGITS, step.key, facts, {})
            return
        train, test = self.workshop(step.row.scenario).outputs(made.tensors)
        finite = bool(train.isfinite().all() and test.isfinite().all())
        logits = {"train": train, "test": test}
        facts = {
            "row": str(step.row),
            "finite": finite,
            "digest": digest(logits),
            "model": made.facts.get("digest", ""),
        }
        self.store.write(LOGITS, step.key, facts, logits)

    def _record(self, step: Step) -> None:
        """Writes the line that is published, and where the logits lie that it is measured on."""
        model, logits, original, *retrained = step.needs
        self._require_one_lineage(step)
        made = self.store.read(*model, tensors=False).facts
        own = self.store.read(*logits, tensors=False).facts
        line = dataclasses.replace(
            _line(step.row, step.key, made["circumstances"]),
            status=_status(made, finite=own["finite"]),
            reason=_reason(made, finite=own["finite"]),
            cost=Cost(**made["cost"]),
            digest=own.get("digest", ""),
            original=self._digest(original),
            retrained=tuple(self._digest(each) for each in retrained),
        )
        facts = {
            "line": dataclasses.asdict(line),
            "logits": logits[1],
            "retrained": [key for _, key in retrained],
        }
        self.store.write(RUN, step.key, facts, None)
        self.store.discard(FAILURE, step.key)

    def record_failure(self, step: Step, reason: str) -> None:
        """Keeps that a method failed at a step, for the page; its next success discards that.

        Nothing is kept of the references, of a protocol, or where the step's needs are broken.
        Computes nothing and touches no device. Raises StoreError where it cannot be written.
        """
        if step.kind == MEASUREMENT or step.row.method in REFERENCES:
            return
        try:
            behind = self.store.read(*step.needs[0], tensors=False).facts
        except CorruptionError:
            return
        key = run_id_of(step.row)
        line = dataclasses.replace(
            _line(step.row, key, behind["circumstances"]),
            status=FAILED,
            reason=" ".join(reason.split()),
        )
        self.store.write(FAILURE, key, {"line": dataclasses.asdict(line)}, None)

    def _digest(self, at: tuple[str, str]) -> str:
        return str(facts_of(self.store, at).get("digest", ""))

    def _require_one_lineage(self, step: Step) -> None:
        for (kind, key), fault in broken(step, self.store).items():
            raise CorruptionError(f"{kind}/{key}: {fault}")

    def _measure(self, step: Step) -> None:
        assert step.protocol is not None
        self._require_one_lineage(step)
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
        self.store.write(MEASUREMENT, step.key, {"line": dataclasses.asdict(line)}, None)

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


def _line(row: Row, run_id: str, where: Mapping[str, Any]) -> Run:
    """What was asked, and where it was done; not yet what came of it."""
    return Run(
        run_id=run_id,
        scenario={
            **plain(row.scenario),
            "data": row.fingerprint,
            "build": row.build,
            "code": CODE,
            **({CLASS_NAME: row.class_name} if row.class_name else {}),
        },
        replicate=dataclasses.asdict(row.replicate),
        method=row.method,
        config={} if row.config is None else dataclasses.asdict(row.config),
        draw=row.draw,
        source=row.source,
        status=FINISHED,
        chosen=row.chosen,
        tuning_passes=row.tuning_passes,
        circumstances={**where, "finished": now()},
        cost=Cost({}, 0.0),
    )


def _reason(made: Mapping[str, Any], *, finite: bool) -> str:
    if made.get("changed"):
        return " ".join(str(made["changed"]).split())
    return "" if finite else "its logits are not finite"


def _status(made: Mapping[str, Any], *, finite: bool) -> str:
    if made.get("changed"):
        return CHANGED
    return FINISHED if finite else DIVERGED


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
