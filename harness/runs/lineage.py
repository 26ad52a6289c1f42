"""Which results of a store were made of other numbers than those that lie beside them now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.records.lines import outcome_of
from harness.records.store import Store
from harness.records.stored import MEASUREMENT, RUN
from harness.runs.plan import LOGITS, MODEL, Step

Place = tuple[str, str]
"""(kind, key) in the store."""


def broken(step: Step, store: Store) -> dict[Place, str]:
    """Which of the results that a step builds on must be made anew, and why."""
    damaged = {need: fault for need in step.needs if (fault := store.fault(*need))}
    return damaged or _disagreement(step, {need: facts(store, need) for need in step.needs})


def outdated(step: Step, read: Callable[[Place], Mapping[str, Any]]) -> str:
    """Why a step's result is not what its needs give now; empty where it is.

    ``read`` gives the facts of a result, and may raise. Results of earlier versions tell no digests
    and so contradict nothing.
    """
    own = read(step.at)
    if step.kind == MODEL:
        same = not step.needs or _told(own, "original") == _told(read(step.needs[0]))
        return _unless(same, "another original")
    if step.kind == LOGITS:
        return _unless(_told(own, "model") == _told(read(step.needs[0])), "another model")
    if step.kind == RUN:
        logits, original, *retrained = (_told(read(need)) for need in step.needs[1:])
        there = outcome_of(logits, original, retrained)
        return _unless(outcome(own["line"]) == there, "other logits")
    return _unless(
        _told(own["line"], "outcome") == outcome(read(step.needs[0])["line"]), "another run"
    )


def outcome(line: Mapping[str, Any]) -> str:
    """The outcome of a run whose line is still a dictionary."""
    return outcome_of(_told(line), _told(line, "original"), line.get("retrained", ()))


def facts(store: Store, at: Place) -> Mapping[str, Any]:
    """What a result says of itself; raises CorruptionError."""
    return store.read(*at, tensors=False).facts


def _told(own: Mapping[str, Any], name: str = "digest") -> str:
    return str(own.get(name, ""))


def _unless(same: bool, what: str) -> str:  # noqa: FBT001 - reads as a sentence where it is called
    return "" if same else f"it was made of {what} than is there now"


def _disagreement(step: Step, needs: Mapping[Place, Mapping[str, Any]]) -> dict[Place, str]:
    """The need at fault, where two of a step's needs are not of one another."""
    if step.kind == RUN:
        model, logits, original, *_ = step.needs
        reason = _unless(_told(needs[logits], "model") == _told(needs[model]), "another model")
        if reason:
            return {logits: reason}
        first = _told(needs[original], "model")
        reason = _unless(_told(needs[model], "original") in ("", first), "another original")
        return {model: reason} if reason else {}
    if step.kind == MEASUREMENT:
        run, logits, *retrained = step.needs
        line = needs[run]["line"]
        read = [_told(needs[each]) for each in (logits, *retrained)]
        told = [_told(line), *line.get("retrained", [""] * len(retrained))]
        reason = _unless(told == read, "other logits")
        return {run: reason} if reason else {}
    return {}
