"""Writes the line of a run that is published, and that of a run that failed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from harness.records.lines import (
    CHANGED,
    DIVERGED,
    FAILED,
    FINISHED,
    Basis,
    Definition,
    Run,
    identity,
)
from harness.records.parsing import fields_of
from harness.records.store import CorruptionError, StepId, Store
from harness.records.stored import DEFINITION, FAILURE, MEASUREMENT, RUN
from harness.runs.environment import now
from harness.runs.keys import PlannedRun
from harness.runs.lineage import facts as facts_of
from harness.runs.lineage import require_one_lineage
from harness.runs.plan import Step
from harness.specs.forgetting import BUILT_IN
from harness.specs.plugin_rules import RecordedRule
from harness.specs.protocol import Cost, Protocol
from harness.specs.scenario import REFERENCES, Scenario
from harness.version import CODE


def record(step: Step, store: Store) -> None:
    """Writes a run's line, and the keys of the logits that it is measured on.

    It computes nothing and calls no plugin. Raises CorruptionError if a result that it builds on is
    broken or does not fit its neighbours.
    """
    model, logits, original, *retrained = step.needs
    require_one_lineage(step, store)
    made = facts_of(store, model)
    own = facts_of(store, logits)
    line = dataclasses.replace(
        _line(step.run, step.id.key, made["circumstances"]),
        status=_status(own),
        reason=_reason(own),
        cost=Cost(**made["cost"]),
        digest=own.get("digest", ""),
        original=_digest(store, original),
        retrained=tuple(_digest(store, each) for each in retrained),
    )
    facts = {
        "line": fields_of(line),
        "logits": logits.key,
        "retrained": [each.key for each in retrained],
    }
    store.write(RUN, step.id.key, facts, None)
    store.discard(FAILURE, step.id.key)


def record_failure(step: Step, reason: str, store: Store) -> None:
    """Keeps for the page that a method failed at a step, until its next success.

    Failures of references and protocols, and of steps whose needs are broken, are not kept. Raises
    StoreError if the failure cannot be written.
    """
    if step.id.kind == MEASUREMENT or step.run.method in REFERENCES:
        return
    try:
        behind = facts_of(store, step.needs[0])
    except CorruptionError:
        return
    key = step.run.record.key
    line = dataclasses.replace(
        _line(step.run, key, behind["circumstances"]),
        status=FAILED,
        reason=" ".join(reason.split()),
    )
    store.write(FAILURE, key, {"line": fields_of(line)}, None)


def record_definitions(protocols: Iterable[Protocol], store: Store) -> None:
    """Keeps what the metrics of these protocols mean, so that a page can tell without them."""
    for protocol in protocols:
        line = Definition(protocol.name, protocol.version, protocol.metrics)
        key = identity([line.protocol, line.version])
        facts = {"line": fields_of(line)}
        with store.lock(DEFINITION, key) as mine:
            if mine and not _holds(store, key, facts):
                store.write(DEFINITION, key, facts, None)


def _holds(store: Store, key: str, facts: Mapping[str, Any]) -> bool:
    try:
        return store.read(DEFINITION, key).facts == facts
    except CorruptionError:
        return False


def _line(run: PlannedRun, run_id: str, where: Mapping[str, Any]) -> Run:
    """What was asked and where it was done, without its result."""
    return Run(
        run_id=run_id,
        scenario=_as_recorded(run),
        basis=Basis(run.fingerprint, run.build, CODE, run.class_name),
        replicate=run.replicate,
        method=run.method,
        config={} if run.config is None else dataclasses.asdict(run.config),
        draw=run.draw,
        source=run.source,
        status=FINISHED,
        chosen=run.chosen,
        tuning_passes=run.tuning_passes,
        circumstances={**where, "finished": now()},
        cost=Cost({}, 0.0),
    )


def _as_recorded(run: PlannedRun) -> Scenario:
    rule = run.scenario.forget
    if isinstance(rule, BUILT_IN):
        return run.scenario
    return dataclasses.replace(run.scenario, forget=RecordedRule.of(rule, run.described))


def _digest(store: Store, id_: StepId) -> str:
    return str(facts_of(store, id_).get("digest", ""))


def _reason(logits: Mapping[str, Any]) -> str:
    if logits.get("changed"):
        return " ".join(str(logits.get("changed")).split())
    return "" if logits["finite"] else "its logits are not finite"


def _status(logits: Mapping[str, Any]) -> str:
    if logits.get("changed"):
        return CHANGED
    return FINISHED if logits["finite"] else DIVERGED
