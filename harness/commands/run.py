"""``unlearn run``: plans, shows progress, runs what is missing."""

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
from harness.records.stored import UNDEFINED
from harness.records.tuned import FOLDER
from harness.runs.entrants import Request, wanted_scenarios
from harness.runs.outcome import Outcome, run
from harness.runs.plan import KINDS, MODEL, Plan
from harness.runs.pool import Means
from harness.runs.recording import record_definitions
from harness.runs.staleness import missing
from harness.runs.steps import Bench
from harness.runs.worker import prepare
from harness.specs.catalog import Catalog


def execute(arguments: argparse.Namespace) -> int:
    """Runs the plan; 1 where a method or a process failed."""
    catalog = plugins.catalog(arguments.plugins)
    means = machine.means(arguments, machine.workers(arguments))
    request = _request(arguments)
    bench, plan = prepare(request, catalog)
    _require_rows(arguments.again, plan)
    progress = Progress(plan, max(1, means.workers))
    todo = missing(plan, bench, progress.report, again=arguments.again, dry=arguments.dry_run)
    if not arguments.dry_run:
        bench.store.open()
        record_definitions(catalog.protocols.values(), bench.store)
    _try_backbones(request, catalog, bench, todo, means)
    for found in bench.notes():
        print(found)
    for note in tuning_notes(plan, catalog, request.tuned):
        print(f"unlearn: {note}", file=sys.stderr)
    for (scenario, method), reason in plan.undefined.items():
        print(f"skipped: {method} in {scenario}: {reason}")
        if not arguments.dry_run:
            _note(Undefined(scenario, method, reason), bench.store)
    if arguments.dry_run:
        print(_counts("would do", Counter(step.kind for step in todo.steps), todo, plan))
        return tell_unread(todo)
    with progress.showing(todo):
        outcome = run(todo, bench, means, progress.report)
    print(_counts("did", outcome.done, todo, plan))
    return conclude(outcome) or tell_unread(todo)


def _request(arguments: argparse.Namespace) -> Request:
    return Request(
        methods=tuple(arguments.methods),
        suite=arguments.suite,
        scenarios=tuple(arguments.scenarios),
        replicates=arguments.replicates,
        seed=arguments.seed,
        backbone=arguments.backbone,
        dataset=arguments.dataset,
        settings=tuple(arguments.settings),
        tuned="" if arguments.defaults else str(arguments.out / FOLDER),
        plugins=tuple(arguments.plugins),
        device=machine.device(arguments.device),
        store=str(arguments.store),
        data=str(arguments.data),
    )


def _require_rows(methods: Iterable[str], plan: Plan) -> None:
    rows = {step.row.method for step in plan.steps}
    for method in methods:
        if method not in rows:
            raise UserError(f"--again: {unknown('method of this run', method, rows)}")


def _note(line: Undefined, store: Store) -> None:
    """Keeps why a method has no row, for the page."""
    key = identity([line.scenario, line.method, line.reason])
    with store.lock(UNDEFINED, key) as mine:
        if mine and not store.has(UNDEFINED, key):
            store.write(UNDEFINED, key, {"line": dataclasses.asdict(line)}, None)


def _try_backbones(
    request: Request, catalog: Catalog, bench: Bench, todo: Plan, means: Means
) -> None:
    """Tries every network: one that cannot work stops the command, what was changed is told."""
    names = {step.row.scenario.name for step in todo.steps if step.kind == MODEL}
    wanted = [each for each, _ in wanted_scenarios(request, catalog) if each.name in names]
    for scenario, change in bench.try_backbones(wanted, apart=means.workers > 0):
        if change:
            print(f"changed: {scenario.backbone} in {scenario.name}: {change}")


def _counts(verb: str, steps: Counter[str], todo: Plan, plan: Plan) -> str:
    counts = [f"{steps[kind]} {kind}" for kind in KINDS]
    there = len(plan.steps) - len(todo.steps) - todo.unread
    return f"{verb} {', '.join(counts)}; {there} of {len(plan.steps)} results were there already"


def tell_unread(todo: Plan) -> int:
    """Says how many results a newer version wrote; 1 where there are some, for they lack here."""
    if todo.unread:
        print(
            f"unlearn: {todo.unread} results are of a newer version of this program, or need such "
            f"a one: kept, not read and not made anew; update it, or name another --store",
            file=sys.stderr,
        )
    return int(todo.unread > 0)


def conclude(outcome: Outcome) -> int:
    """Prints what failed; the exit status, which is 0 only where every result is there."""
    for (name, _), event in outcome.failures.items():
        print(f"unlearn: {name} failed:\n{event.text.rstrip()}", file=sys.stderr)
    if any(event.mistake for event in outcome.failures.values()):
        return 2
    if outcome.left and not outcome.failures:
        print(f"unlearn: {outcome.left} results are still missing", file=sys.stderr)
    return 1 if outcome.failures or outcome.left else 0
