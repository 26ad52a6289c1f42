"""``unlearn run``: runs whatever remains of a suite or of scenarios."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import Counter
from collections.abc import Iterable

from harness.commands import machine, plugins
from harness.commands.progress import Progress
from harness.commands.tuning_notes import tuning_notes
from harness.errors import UserError, unknown
from harness.records.lines import Undefined, identity
from harness.records.store import Store
from harness.records.store_lines import UNDEFINED
from harness.records.tuned import FOLDER
from harness.runs.keys import KINDS, MODEL, STACK
from harness.runs.plan import Plan
from harness.runs.pool import Outcome, Resources, do_plan
from harness.runs.recording import record_definitions, record_published
from harness.runs.remaining import Remaining, remaining
from harness.runs.wanted import Wanted, prepare, wanted_scenarios
from harness.runs.workspace import Workspace


def execute(arguments: argparse.Namespace) -> int:
    """Runs the plan; returns 1 if a result is missing at the end."""
    catalog = plugins.catalog(arguments.plugins)
    resources = machine.resources(arguments, machine.workers(arguments))
    wanted = _wanted(arguments)
    workspace, plan = prepare(wanted, catalog)
    _require_methods(arguments.again, plan)
    progress = Progress(plan, max(1, resources.workers))
    rest = remaining(plan, workspace.store, again=arguments.again)
    progress.report_broken(rest)
    if not arguments.dry_run:
        rest.discard_results(workspace.store)
        workspace.store.open()
        record_definitions(catalog.protocols.values(), workspace.store)
        names = {step.run.scenario.name for step in plan.steps}
        record_published(catalog.publications.values(), names, workspace.store)
    _try_backbones(wanted, workspace, rest.plan, resources)
    for found in workspace.notes():
        print(found)
    for note in tuning_notes(plan, catalog, wanted.tuned):
        print(f"unlearn: {note}", file=sys.stderr)
    for (scenario, method), reason in plan.undefined.items():
        print(f"skipped: {method} in {scenario}: {reason}")
        if not arguments.dry_run:
            _note(Undefined(scenario, method, reason), workspace.store)
    if arguments.dry_run:
        print(_counts("would do", Counter(step.id.kind for step in rest.plan.steps), rest, plan))
        return report_unread(rest)
    with progress.showing(rest.plan):
        outcome = do_plan(rest.plan, workspace, resources, progress.report)
    print(_counts("did", outcome.done, rest, plan))
    return conclude(outcome) or report_unread(rest)


def _wanted(arguments: argparse.Namespace) -> Wanted:
    return Wanted(
        methods=tuple(arguments.methods),
        suite=arguments.suite,
        scenarios=tuple(arguments.scenarios),
        replicates=arguments.replicates,
        seed=arguments.seed,
        backbone=arguments.backbone,
        dataset=arguments.dataset,
        recipe=arguments.recipe,
        protocols=tuple(arguments.protocols),
        pool=arguments.pool,
        settings=tuple(arguments.settings),
        tuned="" if arguments.defaults else str(arguments.out / FOLDER),
        plugins=tuple(arguments.plugins),
        device=machine.device(arguments.device),
        store=str(arguments.store),
        data=str(arguments.data),
    )


def _require_methods(again: Iterable[str], plan: Plan) -> None:
    methods = {step.run.method for step in plan.steps}
    for method in again:
        if method not in methods:
            raise UserError(f"--again: {unknown('method of this run', method, methods)}")


def _note(line: Undefined, store: Store) -> None:
    """Records why a method has no row, for the page."""
    key = identity([line.scenario, line.method, line.reason])
    with store.lock(UNDEFINED, key) as mine:
        if mine and not store.has(UNDEFINED, key):
            store.write(UNDEFINED, key, {"line": dataclasses.asdict(line)}, None)


def _try_backbones(wanted: Wanted, workspace: Workspace, rest: Plan, resources: Resources) -> None:
    """Tests every network; prints any change to one, and raises UserError if one cannot work."""
    names = {step.run.scenario.name for step in rest.steps if step.id.kind == MODEL}
    scenarios = [s for s, _ in wanted_scenarios(wanted, workspace.catalog) if s.name in names]
    for scenario, change in workspace.try_backbones(scenarios, in_process=resources.workers == 0):
        if change:
            print(f"changed: {scenario.backbone} in {scenario.name}: {change}")


def _counts(verb: str, steps: Counter[str], rest: Remaining, plan: Plan) -> str:
    stacked = any(step.id.kind == STACK for step in plan.steps)
    kinds = [kind for kind in KINDS if stacked or kind != STACK]
    counts = ", ".join(f"{steps[kind]} {kind}" for kind in kinds)
    return f"{verb} {counts}; {rest.present} of {len(plan.steps)} results were already in the store"


def report_unread(rest: Remaining) -> int:
    """Prints how many results a newer version wrote; returns 1 if there are any."""
    if rest.unread:
        print(
            f"unlearn: {rest.unread} results are of a newer version of this program, or depend on "
            f"one; they are kept, but neither read nor rebuilt; update this program, or use "
            f"another --store",
            file=sys.stderr,
        )
    return int(rest.unread > 0)


def conclude(outcome: Outcome) -> int:
    """Prints what failed; returns the exit status, which is 0 only if no result is missing."""
    for (name, _), failure in outcome.failures.items():
        print(f"unlearn: {name} failed:\n{failure.text.rstrip()}", file=sys.stderr)
    if any(failure.mistake for failure in outcome.failures.values()):
        return 2
    if outcome.left and not outcome.failures:
        print(f"unlearn: {outcome.left} results are still missing", file=sys.stderr)
    return 1 if outcome.failures or outcome.left else 0
