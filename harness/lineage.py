"""Which results of a store were made of other numbers than those that lie beside them now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.plan import LOGITS, MEASUREMENT, MODEL, RUN, Step
from harness.records import outcome_of
from harness.store import Store

Place = tuple[str, str]
"""(kind, key) in the store."""


def broken(step: Step, store: Store) -> dict[Place, str]:
    """Which of the results that a step builds on must be made anew, and why."""
    damaged = {need: fault for need in step.needs if (fault := store.fault(*need))}
    return damaged or _disagreement(step, {need: facts(store, need) for need in step.needs})


def outdated(step: Step, own: Mapping[str, Any], needs: Mapping[Place, Mapping[str, Any]]) -> str:
    """Why a step's result is not what its needs give now; empty where it is.

    ``own`` and ``needs`` are the facts of the result and of its needs.
    """
    behind = [needs[need] for need in step.needs]
    if step.kind == MODEL:
        return _unless(not behind or own["original"] == behind[0]["digest"], "another original")
    if step.kind == LOGITS:
        return _unless(own["model"] == behind[0]["digest"], "another model")
    if step.kind == RUN:
        _, logits, original, *retrained = (each["digest"] for each in behind)
        there = outcome_of(logits, original, retrained)
        return _unless(outcome(own["line"]) == there, "other logits")
    return _unless(own["line"]["outcome"] == outcome(behind[0]["line"]), "another run")


def outcome(line: Mapping[str, Any]) -> str:
    """The outcome of a run whose line is still a dictionary."""
    return outcome_of(line["digest"], line["original"], line["retrained"])


def facts(store: Store, at: Place) -> Mapping[str, Any]:
    """What a result says of itself; raises CorruptionError."""
    return store.read(*at, tensors=False).facts


def _unless(same: bool, what: str) -> str:  # noqa: FBT001 - reads as a sentence where it is called
    return "" if same else f"it was made of {what} than is there now"


def _disagreement(step: Step, needs: Mapping[Place, Mapping[str, Any]]) -> dict[Place, str]:
    """The need at fault, where two of a step's needs are not of one another."""
    if step.kind == RUN:
        model, logits, original, *_ = step.needs
        reason = _unless(needs[logits]["model"] == needs[model]["digest"], "another model")
        if reason:
            return {logits: reason}
        first = needs[original]["model"]
        reason = _unless(needs[model]["original"] in ("", first), "another original")
        return {model: reason} if reason else {}
    if step.kind == MEASUREMENT:
        run, logits, *retrained = step.needs
        line = needs[run]["line"]
        read = [needs[each]["digest"] for each in (logits, *retrained)]
        reason = _unless([line["digest"], *line["retrained"]] == read, "other logits")
        return {run: reason} if reason else {}
    return {}
