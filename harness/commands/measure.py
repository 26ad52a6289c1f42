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
from harness.plan import LOGITS, RUN, Plan, Row, Step, measurement_step
from harness.progress import Progress
from harness.records import run_of, scenario_of
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
    bench = Bench(store, catalog, data, torch.device(device))
    plan = Plan(tuple(_steps(bench, catalog)), {})
    progress = Progress(plan, workers=1)
    todo = missing(plan, bench, progress.report)
    outcome = run(todo, bench, Request(), 1, progress.report)
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
        behind = [(LOGITS, key) for key in [facts["logits"], *facts["retrained"]]]
        lost = [key for kind, key in behind if not bench.store.has(kind, key)]
        found = bench.material(row.scenario.dataset).fingerprint
        if lost or found != row.fingerprint:
            reason = "its logits are gone" if lost else f"the data are others by now ({found})"
            print(f"unlearn: {row}: left out: {reason}", file=sys.stderr)
            continue
        for protocol in catalog.protocols.values():
            yield measurement_step(((RUN, run_id), *behind), protocol, row)
