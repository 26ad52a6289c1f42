"""``unlearn measure``: measures the protocols that finished runs lack, without training."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from harness.commands import machine, plugins
from harness.commands.progress import Progress
from harness.commands.run import conclude, tell_unread
from harness.errors import UserError
from harness.plugins.rules import revived
from harness.records.lines import Run
from harness.records.parsing import MALFORMED, run_of
from harness.records.store import CorruptionError, Store
from harness.records.stored import RUN
from harness.records.versions import is_newer
from harness.runs.lineage import broken
from harness.runs.outcome import run
from harness.runs.plan import LOGITS, Plan, Row, Step, measurement_step
from harness.runs.recording import record_definitions
from harness.runs.staleness import missing
from harness.runs.steps import Bench
from harness.specs.catalog import Catalog
from harness.terminal import say


def execute(arguments: argparse.Namespace) -> int:
    """Measures; 1 where a protocol failed."""
    catalog = plugins.catalog(arguments.plugins)
    device = machine.device(arguments.device)
    means = machine.means(arguments, machine.workers(arguments))
    store = Store(arguments.store)
    if not store.root.is_dir():
        raise UserError(
            f"--store {arguments.store}: there is no such folder; `unlearn run` makes it"
        )
    bench = Bench(store, catalog, arguments.data, torch.device(device))
    lines = _recorded(store)
    plan = Plan(tuple(_steps(lines, bench, catalog)), {})
    progress = Progress(plan, workers=1)
    todo = missing(plan, bench, progress.report)
    record_definitions(catalog.protocols.values(), store)
    outcome = run(todo, bench, means, progress.report)
    there = len(plan.steps) - len(todo.steps) - todo.unread
    print(f"measured {outcome.done.total()} of {len(plan.steps)}; {there} there")
    return conclude(outcome) or tell_unread(todo)


def _recorded(store: Store) -> dict[str, tuple[Run, Mapping[str, Any]]]:
    """Run → its line, and what the store says beside it; others are reported and left out."""
    found: dict[str, tuple[Run, Mapping[str, Any]]] = {}
    newer = 0
    for run_id in store.keys(RUN):
        try:
            facts = store.read(RUN, run_id).facts
            if is_newer({"kind": "run", **facts["line"]}):
                newer += 1
            else:
                found[run_id] = run_of(facts["line"]), facts
        except CorruptionError as error:
            say(f"left out: {error}; `unlearn run` makes it anew")
        except MALFORMED as error:
            say(f"left out: {RUN}/{run_id} is not a record ({type(error).__name__}: {error})")
    if newer:
        say(f"{newer} runs were written by a newer version of this program; kept, not measured")
    return found


def _steps(
    runs: Mapping[str, tuple[Run, Mapping[str, Any]]], bench: Bench, catalog: Catalog
) -> Iterator[Step]:
    """A step for each protocol of each run whose logits and data are still there."""
    for run_id, (line, facts) in runs.items():
        try:
            scenario = revived(line.scenario, catalog)
        except UserError as error:
            say(f"{line.method} · {line.scenario.name}: left out: {error}")
            continue
        row = Row(
            scenario=scenario,
            replicate=line.replicate,
            method=line.method,
            config=None,
            draw=line.draw,
            source=line.source,
            fingerprint=line.basis.data,
        )
        behind = ((RUN, run_id), *((LOGITS, key) for key in [facts["logits"], *facts["retrained"]]))
        steps = [measurement_step(behind, each, row) for each in catalog.protocols.values()]
        if not all(bench.store.has(*step.at) for step in steps):
            reason = next(iter(broken(steps[0], bench.store).values()), "")
            reason = reason and f"{reason}; `unlearn run` makes it anew"
            reason = reason or _other_data(bench, row)
            if reason:
                say(f"{row}: left out: {reason}")
                continue
        yield from steps


def _other_data(bench: Bench, row: Row) -> str:
    """Why the run's data set cannot be measured on; empty where it can."""
    try:
        found = bench.material(row.scenario.dataset).fingerprint
    except UserError as error:
        return str(error)
    return "" if found == row.fingerprint else f"the data are others by now ({found})"
