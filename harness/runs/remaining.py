"""Which steps of a plan remain: those whose result is missing, broken, outdated or superseded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.leaderboard.grouping import problem_of
from harness.records.lines import Run
from harness.records.store import CorruptionError, StepId, Store
from harness.records.stored import FAILURE, KIND_OF_LINE, RUN, stored_lines
from harness.records.versions import is_newer
from harness.runs.lineage import facts, outdated
from harness.runs.plan import Plan, Step


@dataclass(frozen=True)
class Remaining:
    """What is left to do of a plan."""

    plan: Plan
    """Its steps whose results are to be made."""
    broken: Mapping[StepId, str]
    """The results to be rebuilt → what is wrong with them."""
    unread: int
    """How many results of the plan a newer version of this program wrote, or depend on such."""
    present: int
    """How many results of the plan are there."""

    def discard_results(self, store: Store) -> None:
        """Removes what the store holds under the remaining steps."""
        for step in self.plan.steps:
            store.discard(*step.id)


def remaining(plan: Plan, store: Store, *, again: Collection[str] = ()) -> Remaining:
    """The part of the plan that the store lacks.

    A step remains if its result is missing, broken or does not fit what lies beside it, if its
    method is in ``again``, and if a step that it needs remains. A superseded run is recorded again,
    so that it is the latest. What a newer version of this program wrote, and all that needs it, is
    left alone.
    """
    survey = _Survey(store, again)
    for step in plan.steps:
        survey.look(step)
    wanted = survey.missing | (superseded(plan, store) - survey.unread)
    steps = tuple(step for step in plan.steps if step.id in wanted)
    present = len(plan.steps) - len(steps) - len(survey.unread)
    return Remaining(replace(plan, steps=steps), survey.broken, len(survey.unread), present)


class _Survey:
    """What is known of the results of a plan's steps, looked at in their order."""

    def __init__(self, store: Store, again: Collection[str]) -> None:
        self.missing: set[StepId] = set()
        self.unread: set[StepId] = set()
        """Those that a newer version wrote, or that need one of these."""
        self.broken: dict[StepId, str] = {}
        self._store = store
        self._again = again
        self._known: dict[StepId, Mapping[str, Any]] = {}

    def look(self, step: Step) -> None:
        """Sorts a step; all that it needs was sorted before."""
        there = self._store.has(*step.id)
        fault = self._store.fault(*step.id) if there else ""
        newer = there and not fault and _is_newer(step, self._facts(step.id))
        if newer or not self.unread.isdisjoint(step.needs):
            self.unread.add(step.id)
        elif not there or step.run.method in self._again or not self.missing.isdisjoint(step.needs):
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
    """The plan's recorded runs that are not the latest word on what they answer.

    Those are older than a run of another definition of their scenario or of another source of
    their method, or they say that their settings were chosen in another way than now.
    """
    recorded = {StepId(kind, key) for kind in (RUN, FAILURE) for key in store.keys(kind)}
    runs = [x for x in stored_lines(store, lambda _: None, recorded) if isinstance(x, Run)]
    latest: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for run in sorted(runs, key=_finished):
        for question, answer in _answers(run):
            latest[question][answer] = _finished(run)

    def is_latest(run: Run) -> bool:
        return all(
            when <= _finished(run)
            for question, answer in _answers(run)
            for other, when in latest[question].items()
            if other != answer
        )

    by_id = {run.run_id: run for run in runs}
    asked = {step.id: step.run for step in plan.steps if step.id.kind == RUN}
    return {
        id_
        for id_, now in asked.items()
        if (found := by_id.get(id_.key)) is not None
        and not (
            is_latest(found)
            and (found.chosen, found.tuning_passes) == (now.chosen, now.tuning_passes)
        )
    }


def _answers(run: Run) -> Iterator[tuple[tuple[str, ...], str]]:
    """What a run says about what can change under one name: a scenario, and a method's source."""
    problem = problem_of(run)
    yield ("scenario", run.scenario.name), problem
    yield ("method", problem, run.method), run.source


def _finished(run: Run) -> str:
    return str(run.circumstances["finished"])
