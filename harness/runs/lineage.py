"""Whether the results of a store fit each other: each made from what lies beside it now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.records.lines import outcome_of
from harness.records.store import CorruptionError, StepId, Store
from harness.records.stored import MEASUREMENT, RUN
from harness.runs.keys import LOGITS, MODEL
from harness.runs.plan import Step


def broken(step: Step, store: Store) -> dict[StepId, str]:
    """Which of the results that a step builds on must be rebuilt, and why."""
    damaged = {need: fault for need in step.needs if (fault := store.fault(*need))}
    return damaged or _disagreement(step, {need: facts(store, need) for need in step.needs})


def require_one_lineage(step: Step, store: Store) -> None:
    """Raises CorruptionError if a result that a step builds on is broken or does not fit."""
    for (kind, key), fault in broken(step, store).items():
        raise CorruptionError(f"{kind}/{key}: {fault}")


def outdated(step: Step, read: Callable[[StepId], Mapping[str, Any]]) -> str:
    """Why a step's result does not follow from what it needs now; empty if it does.

    ``read`` returns the facts of a result, and may raise. Results of earlier versions hold no
    digests and so contradict nothing.
    """
    own = read(step.id)
    if step.id.kind == MODEL:
        same = not step.needs or _told(own, "original") == _told(read(step.needs[0]))
        return _unless(same, "original")
    if step.id.kind == LOGITS:
        return _unless(_told(own, "model") == _told(read(step.needs[0])), "model")
    if step.id.kind == RUN:
        logits, original, *retrained = (_told(read(need)) for need in step.needs[1:])
        there = outcome_of(logits, original, retrained)
        return _unless(outcome(own["line"]) == there, "logits")
    return _unless(_told(own["line"], "outcome") == outcome(read(step.needs[0])["line"]), "run")


def outcome(line: Mapping[str, Any]) -> str:
    """The outcome of a run, from its line as the store holds it."""
    return outcome_of(_told(line), _told(line, "original"), line.get("retrained", ()))


def facts(store: Store, at: StepId) -> Mapping[str, Any]:
    """A result without its tensors; raises CorruptionError."""
    return store.read(*at, tensors=False).facts


def _told(own: Mapping[str, Any], name: str = "digest") -> str:
    return str(own.get(name, ""))


def _unless(same: bool, what: str) -> str:  # noqa: FBT001 - reads as a sentence where it is called
    return "" if same else f"it was not made from the {what} that the store holds now"


def _disagreement(step: Step, needs: Mapping[StepId, Mapping[str, Any]]) -> dict[StepId, str]:
    """The need at fault, if two of a step's needs do not fit each other."""
    if step.id.kind == RUN:
        model, logits, original, *_ = step.needs
        reason = _unless(_told(needs[logits], "model") == _told(needs[model]), "model")
        if reason:
            return {logits: reason}
        first = _told(needs[original], "model")
        reason = _unless(_told(needs[model], "original") in ("", first), "original")
        return {model: reason} if reason else {}
    if step.id.kind == MEASUREMENT:
        run, logits, *retrained = step.needs
        line = needs[run]["line"]
        read = [_told(needs[each]) for each in (logits, *retrained)]
        told = [_told(line), *line.get("retrained", [""] * len(retrained))]
        reason = _unless(told == read, "logits")
        return {run: reason} if reason else {}
    return {}
