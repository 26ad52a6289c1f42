"""Finds the steps of a plan whose results are missing, broken, outdated or superseded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.records.lines import Run, problem_key
from harness.records.store import CorruptionError, StepId, Store
from harness.records.store_lines import FAILURE, KIND_OF_LINE, RUN, stored_lines
from harness.records.versions import is_newer
from harness.runs.keys import PlannedRun
from harness.runs.lineage import facts, outdated
from harness.runs.plan import Plan, Step


@dataclass(frozen=True)
class Remaining:
    """What is left to do of a plan."""

    plan: Plan
    """The steps that are still to be done."""
    broken: Mapping[StepId, str]
    """Result to be rebuilt → what is wrong with it."""
    unread: int
    """How many results a newer version of this program wrote, or depend on one of those."""
    present: int
    """How many results are in the store and valid."""

    def discard_results(self, store: Store) -> None:
        """Removes old results of the remaining steps from the store."""
        for step in self.plan.steps:
            store.discard(*step.id)


def remaining(plan: Plan, store: Store, *, again: Collection[str] = ()) -> Remaining:
    """The part of the plan that is still to be done.

    A step remains if its result is missing or broken, if the result was made from other results
    than the store has now, if its method is in ``again``, or if a step that it needs remains. A
    superseded run is recorded again, so that it becomes the latest. Results of a newer version of
    this program, and steps that need them, are left alone.
    """
    survey = _Survey(store, again)
    for step in plan.steps:
        survey.add(step)
    wanted = survey.missing | (superseded(plan, store) - survey.unread)
    steps = tuple(step for step in plan.steps if step.id in wanted)
    present = len(plan.steps) - len(steps) - len(survey.unread)
    return Remaining(replace(plan, steps=steps), survey.broken, len(survey.unread), present)


class _Survey:
    """Sorts the steps of a plan by the state of their results; add them in the plan's order."""

    def __init__(self, store: Store, again: Collection[str]) -> None:
        self.missing: set[StepId] = set()
        self.unread: set[StepId] = set()
        """Results written by a newer version of this program, or that depend on one."""
        self.broken: dict[StepId, str] = {}
        self._store = store
        self._again = again
        self._known: dict[StepId, Mapping[str, Any]] = {}

    def add(self, step: Step) -> None:
        """Sorts one step, after all the steps that it needs."""
        exists = self._store.has(*step.id)
        fault = self._store.fault(*step.id) if exists else ""
        newer = exists and not fault and _is_newer(step, self._facts(step.id))
        if newer or not self.unread.isdisjoint(step.needs):
            self.unread.add(step.id)
        elif (
            not exists or step.run.method in self._again or not self.missing.isdisjoint(step.needs)
        ):
            self.missing.add(step.id)
        elif fault := fault or self._mismatch(step):
            self.broken[step.id] = fault
            self.missing.add(step.id)

    def _facts(self, id_: StepId) -> Mapping[str, Any]:
        if id_ not in self._known:
            self._known[id_] = facts(self._store, id_)
        return self._known[id_]

    def _mismatch(self, step: Step) -> str:
        try:
            return outdated(step, self._facts)
        except CorruptionError as error:
            return str(error)


def _is_newer(step: Step, own: Mapping[str, Any]) -> bool:
    kind = KIND_OF_LINE.get(step.id.kind)
    return kind is not None and is_newer({"kind": kind, **own["line"]})


def superseded(plan: Plan, store: Store) -> set[StepId]:
    """The plan's recorded runs that must be recorded again to be the latest of their kind.

    A run is superseded by a later run with another definition of its scenario or another source of
    its method. It is also superseded if its settings are now chosen in another way.
    """
    history = _History.of(store)
    return {
        step.id
        for step in plan.steps
        if step.id.kind == RUN and history.supersedes(step.id, step.run)
    }


Subject = tuple[str, ...]
"""Something that keeps its name when it is edited: a scenario, or a method on a problem."""


class _History:
    """All recorded runs, and when each version of a scenario or method was last run."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = {run.run_id: run for run in runs}
        self._last_run: dict[Subject, dict[str, str]] = defaultdict(dict)
        """Subject → version → when a run with this version last finished."""
        for run in sorted(runs, key=_finished):
            for subject, version in _versions(run):
                self._last_run[subject][version] = _finished(run)

    @classmethod
    def of(cls, store: Store) -> _History:
        """The history of a store, with its failed runs."""
        ids = {StepId(kind, key) for kind in (RUN, FAILURE) for key in store.keys(kind)}
        lines = stored_lines(store, lambda _: None, ids)
        return cls([line for line in lines if isinstance(line, Run)])

    def supersedes(self, id_: StepId, planned: PlannedRun) -> bool:
        """Whether the recorded run with this id is superseded, given what is planned now."""
        recorded = self._runs.get(id_.key)
        if recorded is None:
            return False
        before = (recorded.chosen, recorded.tuning_passes)
        now = (planned.chosen, planned.tuning_passes)
        return before != now or self._has_later_version(recorded)

    def _has_later_version(self, run: Run) -> bool:
        return any(
            finished > _finished(run)
            for subject, own in _versions(run)
            for version, finished in self._last_run[subject].items()
            if version != own
        )


def _versions(run: Run) -> Iterator[tuple[Subject, str]]:
    """The subjects of a run, each with the version that the run used."""
    problem = problem_key(run)
    yield ("scenario", run.scenario.name), problem
    yield ("method", problem, run.method), run.source


def _finished(run: Run) -> str:
    return str(run.circumstances["finished"])
