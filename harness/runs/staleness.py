"""What of a plan has to be done: what is not there, is broken, or is not what would be made now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from harness.leaderboard.grouping import age, problem_of
from harness.records.lines import Run
from harness.records.store import CorruptionError, Store
from harness.records.stored import FAILURE, KIND_OF_LINE, RUN, stored_lines
from harness.records.versions import is_newer
from harness.runs.lineage import Place, facts, outdated
from harness.runs.plan import Plan, Step
from harness.runs.steps import Bench
from harness.runs.worker import BROKEN, Event, Report


def missing(
    plan: Plan,
    bench: Bench,
    report: Report,
    *,
    again: Collection[str] = (),
    dry: bool = False,
) -> Plan:
    """The part of the plan that the store lacks; broken results are reported.

    A step is missing where its result is not there, is broken or was made of other numbers than
    lie beside it now, where its method is in ``again``, and where a step that it needs is missing;
    what is there of it is thrown away, unless ``dry``. A run that was superseded is recorded anew,
    so that a page shows what was asked for last. What a newer version wrote is neither missing nor
    there: it is left alone, with all that needs it, and counted in the plan's ``unread``.
    """
    survey = _Survey(bench.store, again)
    for step in plan.steps:
        survey.look(step)
    for (kind, key), fault in survey.faults.items():
        report(Event(BROKEN, kind, key, text=fault))
    wanted = survey.missing | (superseded(plan, bench.store) - survey.unread)
    todo = tuple(step for step in plan.steps if step.at in wanted)
    if not dry:
        for step in todo:
            bench.store.discard(*step.at)
    return replace(plan, steps=todo, unread=len(survey.unread))


class _Survey:
    """What is known of the results of a plan's steps, which are looked at in their order."""

    def __init__(self, store: Store, again: Collection[str]) -> None:
        self.missing: set[Place] = set()
        self.unread: set[Place] = set()
        """Those that a newer version wrote, or that need one of these."""
        self.faults: dict[Place, str] = {}
        self._store, self._again = store, again
        self._known: dict[Place, Mapping[str, Any]] = {}

    def look(self, step: Step) -> None:
        """Sorts a step, after all that it needs."""
        there = self._store.has(*step.at)
        fault = self._store.fault(*step.at) if there else ""
        newer = there and not fault and _is_newer(step, self._facts(step.at))
        if newer or any(need in self.unread for need in step.needs):
            self.unread.add(step.at)
        elif not there or step.row.method in self._again or not self.missing.isdisjoint(step.needs):
            self.missing.add(step.at)
        elif fault := fault or self._mismatch(step):
            self.faults[step.at] = fault
            self.missing.add(step.at)

    def _facts(self, at: Place) -> Mapping[str, Any]:
        if at not in self._known:
            self._known[at] = facts(self._store, at)
        return self._known[at]

    def _mismatch(self, step: Step) -> str:
        try:
            return outdated(step, self._facts)
        except CorruptionError as error:
            return str(error)


def _is_newer(step: Step, own: Mapping[str, Any]) -> bool:
    return step.kind in KIND_OF_LINE and is_newer({"kind": KIND_OF_LINE[step.kind], **own["line"]})


def superseded(plan: Plan, store: Store) -> set[Place]:
    """The plan's recorded runs that a page might not show as they are asked for now.

    They are older than a run of another definition of their scenario, its data included, or of
    another source of their method, or say that their settings were chosen in another way.
    """
    recorded = {(kind, key) for kind in (RUN, FAILURE) for key in store.keys(kind)}
    runs = [x for x in stored_lines(store, lambda _: None, recorded) if isinstance(x, Run)]
    by_id = {run.run_id: run for run in runs}
    definitions: dict[str, dict[str, str]] = defaultdict(dict)
    sources: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for run in sorted(runs, key=age):
        when = run.circumstances["finished"]
        definitions[run.scenario.name][problem_of(run)] = when
        sources[problem_of(run), run.method][run.source] = when
    found = set()
    for step in plan.steps:
        mine = by_id.get(step.key) if step.kind == RUN else None
        if mine is None:
            continue
        asked = (step.row.chosen, step.row.tuning_passes)
        rivals = (
            (definitions[mine.scenario.name], problem_of(mine)),
            (sources[problem_of(mine), mine.method], mine.source),
        )
        if (mine.chosen, mine.tuning_passes) != asked or any(
            when > mine.circumstances["finished"]
            for there, own in rivals
            for other, when in there.items()
            if other != own
        ):
            found.add(step.at)
    return found
