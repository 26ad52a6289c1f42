"""``unlearn tune``: chooses settings for one scenario, by equally many trials of each method."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from harness.commands import machine, plugins
from harness.leaderboard.tunings import AFTER
from harness.records.tuned import BUDGET, FOLDER, OVER, Trial, Tuning, Unread, read, write
from harness.runs.points import outside
from harness.runs.trials import TrialSetup
from harness.runs.tuning import tune_each
from harness.runs.wanted import Wanted, wanted_methods, wanted_scenarios
from harness.specs.catalog import Catalog
from harness.specs.method import Method
from harness.terminal import say


def execute(arguments: argparse.Namespace) -> int:
    """Tunes the methods, and writes the settings of each as soon as it is done."""
    catalog = plugins.catalog(arguments.plugins)
    wanted = _wanted(arguments)
    scenario = wanted_scenarios(wanted, catalog)[0][0]
    folder = arguments.out / FOLDER
    _check(folder, scenario.name)
    methods = [each.name for each in _searchable(wanted, catalog)]
    if not methods:
        return 0
    resources = machine.resources(arguments, machine.workers(arguments))
    setup = TrialSetup.prepare(
        scenario,
        catalog,
        store=Path(wanted.store),
        data=Path(wanted.data),
        device=torch.device(wanted.device),
        replicates=arguments.replicates,
        resources=resources,
    )
    for found in setup.workspace.notes():
        print(found)
    failed = False
    for name, tuning in tune_each(methods, setup, arguments.trials, resources.workers, say):
        best = tuning.best if isinstance(tuning, Tuning) else None
        if best is None or not isinstance(tuning, Tuning):
            failed = True
            print(f"unlearn: {name}: {_why(tuning)}", file=sys.stderr)
            continue
        write(folder, scenario.name, {name: tuning})
        print(f"{name}: {_result(tuning, best)}", flush=True)
    return 1 if failed else 0


def _result(tuning: Tuning, best: Trial) -> str:
    """The kept settings, and the gap against the number of trials."""
    settings = ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in best.settings.items()
    )
    first, defaults = tuning.trials[0], tuning.defaults
    failed = (defaults or first).note
    known = f"{defaults.gap:.2f}" if defaults and defaults.gap is not None else failed
    counts = sorted({count for count in AFTER if count < len(tuning.trials)} | {len(tuning.trials)})
    gaps = [(count, tuning.gap_after(count)) for count in counts]
    course = ", ".join(f"{'none' if g is None else f'{g:.2f}'} after {count}" for count, g in gaps)
    return (
        f"average gap {best.gap:.2f} on fresh originals, defaults {known}, with {settings} "
        f"({tuning}: {course})"
    )


def _check(folder: Path, scenario: str) -> None:
    """Fails now if the settings cannot be written; warns of entries that cannot be read."""
    for name, tuning in read(folder, scenario).items():
        if isinstance(tuning, Unread):
            print(f"unlearn: {folder / scenario}.json: {name}: {tuning.reason}", file=sys.stderr)
    write(folder, scenario, {})


def _wanted(arguments: argparse.Namespace) -> Wanted:
    return Wanted(
        methods=tuple(arguments.methods),
        scenarios=(arguments.scenario,),
        backbone=arguments.backbone,
        dataset=arguments.dataset,
        recipe=arguments.recipe,
        plugins=tuple(arguments.plugins),
        device=machine.device(arguments.device),
        store=str(arguments.store),
        data=str(arguments.data),
    )


def _searchable(wanted: Wanted, catalog: Catalog) -> Iterator[Method]:
    """The methods that can be tuned; says why the others are skipped."""
    scenario = wanted_scenarios(wanted, catalog)[0][0]
    for method in wanted_methods(wanted, catalog):
        reason = method.undefined_because(scenario)
        if not reason and not method.search:
            reason = "has no search space and runs at its defaults"
        if not reason and not method.searched(scenario):
            reason = "has a search space without a part in this scenario; it runs at its defaults"
        if reason:
            print(f"skipped: {method.name}: {reason}")
            continue
        for text in outside(method.searched(scenario), method.config):
            print(f"{method.name}: {text}")
        yield method


def _why(tuning: Tuning | str) -> str:
    """Why a method has no tuned settings."""
    if isinstance(tuning, str):
        return tuning
    if tuning.confirmed:
        return f"none of the best settings succeeded on fresh originals: {tuning.confirmed[0].note}"
    *_, last = notes = [trial.note for trial in tuning.trials]
    if last != OVER:
        return f"no trial succeeded: {last}"
    share = f"{100 * BUDGET:g} % of retraining's passes"
    return (
        f"no trial succeeded: {notes.count(OVER)} of {len(notes)} trials took more than {share}, "
        f"the budget of a run; search fewer epochs"
    )
