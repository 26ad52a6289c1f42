"""``unlearn measure``: measures the protocols that finished runs lack, without training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from harness.bench import Bench
from harness.commands import options
from harness.commands.run import conclude
from harness.errors import UserError
from harness.lines import run_of, scenario_of
from harness.plan import LOGITS, RUN, Plan, Row, Step, measurement_step
from harness.progress import Progress
from harness.request import Request
from harness.runner import missing, run
from harness.specs import Catalog, Replicate
from harness.store import CorruptionError, Store

NAME, HELP = "measure", "measure the protocols that finished runs lack, without training"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    options.add_device(parser)
    options.add_store(parser)
    options.add_plugins(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Measures; 1 where a protocol failed."""
    catalog = options.catalog(arguments.plugins)
    device = options.device(arguments.device)
    data = options.folder("--data", arguments.data)
    store = Store(Path(arguments.store))
    if not store.root.is_dir():
        raise UserError(
            f"--store {arguments.store}: there is no such folder; `unlearn run` makes it"
        )
    bench = Bench(store, catalog, data, torch.device(device))
    plan = Plan(tuple(_steps(bench, catalog)), {})
    progress = Progress(plan, workers=1)
    todo = missing(plan, bench, progress.report)
    outcome = run(todo, bench, Request(), 0, progress.report)
    there = len(plan.steps) - len(todo.steps)
    print(f"measured {outcome.done.total()} of {len(plan.steps)}; {there} there")
    return conclude(outcome)


def _steps(bench: Bench, catalog: Catalog) -> Iterator[Step]:
    """A step for each protocol of each run whose logits and data are still there."""
    for run_id in bench.store.keys(RUN):
        try:
            facts = bench.store.read(RUN, run_id).facts
        except CorruptionError as error:
            print(f"unlearn: left out: {error}; `unlearn run` makes it anew", file=sys.stderr)
            continue
        line = run_of(facts["line"])
        row = Row(
            scenario=scenario_of(line.scenario),
            replicate=Replicate(**line.replicate),
            method=line.method,
            config=None,
            draw=line.draw,
            source=line.source,
            fingerprint=line.scenario["data"],
        )
        behind = ((RUN, run_id), *((LOGITS, key) for key in [facts["logits"], *facts["retrained"]]))
        steps = [measurement_step(behind, each, row) for each in catalog.protocols.values()]
        if not all(bench.store.has(*step.at) for step in steps):
            reason = next(filter(None, (bench.store.fault(*at) for at in behind)), "")
            reason = reason and f"{reason}; `unlearn run` makes it anew"
            reason = reason or _other_data(bench, row)
            if reason:
                print(f"unlearn: {row}: left out: {reason}", file=sys.stderr)
                continue
        yield from steps


def _other_data(bench: Bench, row: Row) -> str:
    """Why the run's data set cannot be measured on; empty where it can."""
    try:
        found = bench.material(row.scenario.dataset).fingerprint
    except UserError as error:
        return str(error)
    return "" if found == row.fingerprint else f"the data are others by now ({found})"
