"""``unlearn tune``: chooses settings for one scenario, by as many trials for every method."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from harness.commands import machine, plugins
from harness.errors import UserError
from harness.isolation.processes import Child, Family
from harness.records.tuned import FOLDER, Tuning, Unread, read, tuning_of, write
from harness.runs.entrants import Request, wanted_methods, wanted_scenarios
from harness.runs.tuning import Ground, tune
from harness.runs.warm import warm
from harness.specs.catalog import Catalog
from harness.specs.method import Method
from harness.terminal import say

ROOM = 1 << 26
"""Bytes for what a process says of ten thousand trials."""


def execute(arguments: argparse.Namespace) -> int:
    """Tunes; writes the file of chosen settings whenever a method is done."""
    catalog = plugins.catalog(arguments.plugins)
    request = _request(arguments)
    scenario = wanted_scenarios(request, catalog)[0][0]
    folder = arguments.out / FOLDER
    _check(folder, scenario.name)
    methods = [each.name for each in _searchable(request, catalog)]
    if not methods:
        return 0
    means = machine.means(arguments, min(machine.workers(arguments), len(methods)))
    ground = Ground.prepare(  # it also tells what is wrong, in one line
        scenario,
        catalog,
        store=Path(request.store),
        data=Path(request.data),
        device=torch.device(request.device),
        replicates=arguments.replicates,
        means=means,
    )
    failed = False
    for name, tuning in _tuned(methods, ground, arguments.trials, means.workers):
        best = tuning.best if isinstance(tuning, Tuning) else None
        if best is None or not isinstance(tuning, Tuning):
            failed = True
            print(f"unlearn: {name}: {_why(tuning)}", file=sys.stderr)
            continue
        write(folder, scenario.name, {name: tuning})
        settings = ", ".join(
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in best.settings.items()
        )
        print(f"{name}: average gap {best.gap:.2f} with {settings} ({tuning})", flush=True)
    return 1 if failed else 0


def _check(folder: Path, scenario: str) -> None:
    """Tells what stands in the way of the file before anything is tried, and what is kept of it."""
    for name, tuning in read(folder, scenario).items():
        if isinstance(tuning, Unread):
            print(f"unlearn: {folder / scenario}.json: {name}: {tuning.reason}", file=sys.stderr)
    write(folder, scenario, {})


def _request(arguments: argparse.Namespace) -> Request:
    return Request(
        methods=tuple(arguments.methods),
        scenarios=(arguments.scenario,),
        backbone=arguments.backbone,
        dataset=arguments.dataset,
        plugins=tuple(arguments.plugins),
        device=machine.device(arguments.device),
        store=str(arguments.store),
        data=str(arguments.data),
    )


def _searchable(request: Request, catalog: Catalog) -> Iterator[Method]:
    """The methods that there is something to choose for; the others are told."""
    scenario = wanted_scenarios(request, catalog)[0][0]
    for method in wanted_methods(request, catalog):
        reason = method.undefined_because(scenario)
        if not reason and not method.search:
            reason = "has no search space and runs at its defaults"
        if reason:
            print(f"skipped: {method.name}: {reason}")
        else:
            yield method


def _why(tuning: Tuning | str) -> str:
    if isinstance(tuning, str):
        return tuning
    return f"no trial succeeded: {tuning.trials[-1].note}"


def _tuned(
    methods: list[str], ground: Ground, trials: int, count: int
) -> Iterator[tuple[str, Tuning | str]]:
    """Each method's tuning, as soon as it is done; or how its process died.

    Raises UserError where the command cannot go on.
    """
    waiting = [*reversed(methods)]
    names: dict[Child, str] = {}
    warm()
    with Family() as family:
        while waiting or names:
            while waiting and len(names) < count:
                name = waiting.pop()
                names[family.fork(partial(_tune, name, ground, trials), room=ROOM)] = name
            for ending in family.wait(math.inf):
                name, said = names.pop(ending.child), ending.said
                if said is not None and "mistake" in said:
                    raise UserError(said["mistake"])
                yield name, ending.epitaph if said is None else tuning_of(said)


def _tune(name: str, ground: Ground, trials: int) -> dict[str, Any]:
    """One method, in a process of its own, which forks another for every step."""
    try:
        return asdict(tune(ground.catalog.methods[name], ground, trials, say=say))
    except UserError as error:
        return {"mistake": str(error)}
