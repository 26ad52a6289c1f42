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
from harness.records.store import CorruptionError, Store
from harness.records.stored import DEFINITION, FAILURE, MEASUREMENT, RUN
from harness.runs.environment import now
from harness.runs.lineage import broken
from harness.runs.lineage import facts as facts_of
from harness.runs.plan import Row, Step, run_id_of
from harness.specs.forgetting import BUILT_IN
from harness.specs.plugin_rules import RecordedRule
from harness.specs.protocol import Cost, Protocol
from harness.specs.scenario import REFERENCES, Scenario
from harness.version import CODE


def record(step: Step, store: Store) -> None:
    """Writes a run's line, and where the logits lie that it is measured on.

    It computes nothing and calls no plugin. Raises CorruptionError where a result that it builds
    on is broken, or was made of other numbers than its neighbours.
    """
    model, logits, original, *retrained = step.needs
    require_one_lineage(step, store)
    made, own = facts_of(store, model), facts_of(store, logits)
    line = dataclasses.replace(
        _line(step.row, step.key, made["circumstances"]),
        status=_status(own),
        reason=_reason(own),
        cost=Cost(**made["cost"]),
        digest=own.get("digest", ""),
        original=_digest(store, original),
        retrained=tuple(_digest(store, each) for each in retrained),
    )
    facts = {
        "line": fields_of(line),
        "logits": logits[1],
        "retrained": [key for _, key in retrained],
    }
    store.write(RUN, step.key, facts, None)
    store.discard(FAILURE, step.key)


def record_failure(step: Step, reason: str, store: Store) -> None:
    """Keeps that a method failed at a step, for the page; its next success discards that.

    Nothing is kept of the references, of a protocol, or where the step's needs are broken. Raises
    StoreError where it cannot be written.
    """
    if step.kind == MEASUREMENT or step.row.method in REFERENCES:
        return
    try:
        behind = facts_of(store, step.needs[0])
    except CorruptionError:
        return
    key = run_id_of(step.row)
    line = dataclasses.replace(
        _line(step.row, key, behind["circumstances"]),
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


def require_one_lineage(step: Step, store: Store) -> None:
    """Raises CorruptionError where two of a step's needs are not of one another."""
    for (kind, key), fault in broken(step, store).items():
        raise CorruptionError(f"{kind}/{key}: {fault}")


def _line(row: Row, run_id: str, where: Mapping[str, Any]) -> Run:
    """What was asked, and where it was done; not yet what came of it."""
    return Run(
        run_id=run_id,
        scenario=_as_recorded(row),
        basis=Basis(row.fingerprint, row.build, CODE, row.class_name),
        replicate=row.replicate,
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


def _as_recorded(row: Row) -> Scenario:
    rule = row.scenario.forget
    if isinstance(rule, BUILT_IN):
        return row.scenario
    return dataclasses.replace(row.scenario, forget=RecordedRule.of(rule, row.described))


def _digest(store: Store, at: tuple[str, str]) -> str:
    return str(facts_of(store, at).get("digest", ""))


def _reason(logits: Mapping[str, Any]) -> str:
    if logits.get("changed"):
        return " ".join(str(logits.get("changed")).split())
    return "" if logits["finite"] else "its logits are not finite"


def _status(logits: Mapping[str, Any]) -> str:
    if logits.get("changed"):
        return CHANGED
    return FINISHED if logits["finite"] else DIVERGED
