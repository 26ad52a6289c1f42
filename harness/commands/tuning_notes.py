"""Notes of ``run`` about methods that run at their defaults or with an outdated tuning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from harness.records.tuned import OF
from harness.runs.keys import PlannedRun
from harness.runs.plan import Plan
from harness.specs.catalog import Catalog
from harness.specs.scenario import REFERENCES

FEW = 5
"""Up to this many methods are listed by name; more are given as a number."""


def tuning_notes(plan: Plan, catalog: Catalog, tuned: str) -> Iterator[str]:
    """One line for each method whose tuning is outdated, and one for all that have none.

    ``tuned`` is the folder of tuned settings. If it is empty, the user asked for the defaults, and
    there are no notes.
    """
    if not tuned:
        return
    runs = {(step.run.scenario.name, step.run.method): step.run for step in plan.steps}
    own = [run for run in runs.values() if run.method not in REFERENCES]
    yield from _outdated(own)
    untuned: dict[str, dict[str, None]] = defaultdict(dict)
    tunable: dict[str, dict[str, None]] = defaultdict(dict)
    for run in own:
        scenario = run.scenario
        if catalog.methods[run.method].searched(scenario):
            home = scenario.tuned_as or scenario.name
            tunable[home][run.method] = None
            if not run.chosen:
                untuned[home][run.method] = None
    if untuned:
        yield _untuned(untuned, tunable, tuned)


def _outdated(runs: Collection[PlannedRun]) -> Iterator[str]:
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        _, outdated, what = run.chosen.partition(OF)
        if outdated:
            found[run.method][what].append(run.scenario.tuned_as or run.scenario.name)
    for method, by_age in found.items():
        ages = "; ".join(
            f"{what} ({', '.join(dict.fromkeys(names))})" for what, names in by_age.items()
        )
        yield f"{method} runs with settings tuned for {ages}; `unlearn tune {method}` renews them"


def _untuned(
    untuned: Mapping[str, Collection[str]], tunable: Mapping[str, Collection[str]], tuned: str
) -> str:
    parts = []
    for scenario, methods in untuned.items():
        every = len(methods) == len(tunable[scenario]) > FEW
        names = f"all {len(methods)} methods with a search space" if every else ", ".join(methods)
        parts.append(f"{names} for {scenario}")
    found = "no tuned settings in" if Path(tuned).is_dir() else "there is no folder"
    return (
        f"{found} {tuned}, so these run at their defaults: {'; '.join(parts)}. `unlearn tune` "
        f"chooses settings, --out names another folder (a checkout's leaderboards/ contains those "
        f"of its pages), --defaults requests them without this note"
    )
