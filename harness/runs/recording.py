"""Writes the lines of runs and failures, of protocols' definitions and published numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from harness.records.json_lines import fields_of
from harness.records.lines import (
    CHANGED,
    DIVERGED,
    FAILED,
    FINISHED,
    Basis,
    Definition,
    Run,
    identity,
    settings_of,
)
from harness.records.store import CorruptionError, StepId, Store
from harness.records.store_lines import DEFINITION, FAILURE, MEASUREMENT, PUBLISHED, RUN
from harness.runs.environment import now
from harness.runs.keys import PlannedRun
from harness.runs.lineage import facts as facts_of
from harness.runs.lineage import require_one_lineage
from harness.runs.plan import Step
from harness.specs.evidence import Cost
from harness.specs.forgetting import BUILT_IN
from harness.specs.part import idle
from harness.specs.protocol import Protocol
from harness.specs.published import Published
from harness.specs.recorded_rule import RecordedRule
from harness.specs.scenario import REFERENCES, Scenario
from harness.version import CODE


def record(step: Step, store: Store) -> None:
    """Writes a run's line, with the keys of the logits that it is measured on.

    This computes nothing and calls no plugin. Raises CorruptionError if a result that the step
    needs is broken, or contradicts another.
    """
    model, logits, original, *retrained = step.needs
    require_one_lineage(step, store)
    model_facts = facts_of(store, model)
    logits_facts = facts_of(store, logits)
    line = dataclasses.replace(
        _line(step.run, step.id.key, model_facts["circumstances"]),
        status=_status(logits_facts),
        reason=_reason(logits_facts),
        cost=Cost(**model_facts["cost"]),
        digest=logits_facts.get("digest", ""),
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
    """Records that a method failed, for its page; the record is removed once the run succeeds.

    Failures of references, replays and protocols are not recorded, nor those of a step that needs
    a broken result. Raises StoreError if the failure cannot be written.
    """
    if step.id.kind == MEASUREMENT or step.run.method in REFERENCES or step.run.half is not None:
        return
    try:
        needed = facts_of(store, step.needs[0])
    except CorruptionError:
        return
    key = step.run.record.key
    line = dataclasses.replace(
        _line(step.run, key, needed["circumstances"]),
        status=FAILED,
        reason=" ".join(reason.split()),
    )
    store.write(FAILURE, key, {"line": fields_of(line)}, None)


def record_definitions(protocols: Iterable[Protocol], store: Store) -> None:
    """Records what the metrics of these protocols mean, so that pages can say it without them."""
    for protocol in protocols:
        line = Definition(protocol.name, protocol.version, protocol.metrics)
        _record_once(StepId(DEFINITION, identity([line.protocol, line.version])), line, store)


def record_published(
    publications: Iterable[Published], scenarios: Collection[str], store: Store
) -> None:
    """Records the published numbers that belong to one of these scenarios, for their pages."""
    for line in publications:
        if {*line.scenarios} & {*scenarios}:
            _record_once(StepId(PUBLISHED, identity([line.name])), line, store)


def _record_once(at: StepId, line: Definition | Published, store: Store) -> None:
    facts = {"line": fields_of(line)}
    with store.lock(*at) as mine:
        if mine and not _is_recorded(store, at, facts):
            store.write(*at, facts, None)


def _is_recorded(store: Store, at: StepId, facts: Mapping[str, Any]) -> bool:
    try:
        return store.read(*at).facts == facts
    except CorruptionError:
        return False


def _line(run: PlannedRun, run_id: str, where: Mapping[str, Any]) -> Run:
    """The line of a run without its results: what was asked, and in which environment."""
    return Run(
        run_id=run_id,
        scenario=_as_recorded(run),
        basis=Basis(run.fingerprint, run.build, CODE, run.class_name),
        replicate=run.replicate,
        method=run.method,
        config={} if run.config is None else settings_of(run.config),
        idle=idle(run.config, run.scenario),
        draw=run.draw,
        source=run.source,
        status=FINISHED,
        chosen=run.chosen,
        tuning_passes=run.tuning_passes,
        circumstances={**where, "finished": now()},
        cost=Cost({}, 0.0),
    )


def _as_recorded(run: PlannedRun) -> Scenario:
    """The scenario, with a description in place of a plugin's forget rule."""
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
