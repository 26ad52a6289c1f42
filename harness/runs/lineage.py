"""Checks that each result was made from the results that the store has now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.records.lines import outcome_of
from harness.records.store import CorruptionError, StepId, Store
from harness.records.store_lines import MEASUREMENT, RUN
from harness.runs.keys import LOGITS, MODEL, STACK, recipe_of
from harness.runs.plan import Step


def broken(step: Step, store: Store) -> dict[StepId, str]:
    """The results that a step needs and that must be rebuilt first, each with the reason."""
    damaged = {need: fault for need in step.needs if (fault := store.fault(*need))}
    return damaged or _disagreement(step, {need: facts(store, need) for need in step.needs})


def require_one_lineage(step: Step, store: Store) -> None:
    """Raises CorruptionError if a result that the step needs must be rebuilt first."""
    for (kind, key), fault in broken(step, store).items():
        raise CorruptionError(f"{kind}/{key}: {fault}")


def outdated(step: Step, read: Callable[[StepId], Mapping[str, Any]]) -> str:
    """Why a step's result was not made from what the store has now; empty if it was.

    ``read`` returns the facts of a result, and may raise. Results of earlier versions have no
    digests, and so always pass.
    """
    own = read(step.id)
    if step.id.kind == MODEL:
        same = not step.needs or _recorded(own, "original") == _recorded(read(step.needs[0]))
        return _unless(same, "original")
    if step.id.kind == LOGITS:
        return _unless(_recorded(own, "model") == _recorded(read(step.needs[0])), "model")
    if step.id.kind == RUN:
        logits, original, *retrained = (_recorded(read(need)) for need in step.needs[1:])
        made_from = outcome_of(logits, original, retrained)
        return _unless(outcome(own["line"]) == made_from, "logits")
    if step.id.kind == STACK:
        now = [_recorded(read(need)) for need in step.needs]
        same = own.get("stacked") == now and own.get("recipe") == recipe_of(step.run)
        return _unless(same, "logits")
    same = _recorded(own["line"], "outcome") == outcome(read(step.needs[0])["line"])
    stacks = [_recorded(read(need)) for need in step.needs if need.kind == STACK]
    return _unless(same, "run") or _unless(own.get("stacks", []) == stacks, "stacks")


def outcome(line: Mapping[str, Any]) -> str:
    """The outcome of a run, from its line in the store."""
    return outcome_of(_recorded(line), _recorded(line, "original"), line.get("retrained", ()))


def facts(store: Store, at: StepId) -> Mapping[str, Any]:
    """A result without its tensors; raises CorruptionError."""
    return store.read(*at, tensors=False).facts


def _recorded(own: Mapping[str, Any], name: str = "digest") -> str:
    return str(own.get(name, ""))


def _unless(same: bool, what: str) -> str:  # noqa: FBT001 - reads as a sentence at its calls
    return "" if same else f"it was not made from the {what} now in the store"


def _disagreement(step: Step, needs: Mapping[StepId, Mapping[str, Any]]) -> dict[StepId, str]:
    """The result at fault, with the reason, if two results that a step needs contradict."""
    if step.id.kind == RUN:
        model, logits, original, *_ = step.needs
        reason = _unless(_recorded(needs[logits], "model") == _recorded(needs[model]), "model")
        if reason:
            return {logits: reason}
        first = _recorded(needs[original], "model")
        reason = _unless(_recorded(needs[model], "original") in ("", first), "original")
        return {model: reason} if reason else {}
    if step.id.kind == MEASUREMENT:
        run, *others = step.needs
        logits, *retrained = (need for need in others if need.kind == LOGITS)
        line = needs[run]["line"]
        read = [_recorded(needs[each]) for each in (logits, *retrained)]
        named = [_recorded(line), *line.get("retrained", [""] * len(retrained))]
        reason = _unless(named == read, "logits")
        return {run: reason} if reason else {}
    return {}
