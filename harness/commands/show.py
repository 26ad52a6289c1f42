"""``unlearn show``: shows one run in full."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from harness.errors import UserError
from harness.leaderboard.problem import task
from harness.leaderboard.publish import published
from harness.records.lines import Line, Measurement, Run, identity_of, merge
from harness.records.store import Store
from harness.records.store_lines import stored_lines
from harness.terminal import say


def execute(arguments: argparse.Namespace) -> int:
    """Prints what was asked, where it ran, what it cost and what was measured."""
    if arguments.plugins:
        from harness.commands.plugins import catalog  # noqa: PLC0415 - it needs torch

        catalog(arguments.plugins)
    stored = stored_lines(Store(arguments.store), say)
    lines = merge(published(arguments.out, say).lines, stored)
    runs = [line for line in lines if isinstance(line, Run)]
    found = [run for run in runs if run.run_id.startswith(arguments.run_id)]
    if not found:
        raise UserError(f"no run id begins with {arguments.run_id!r}{_with_runs(runs)}")
    ids = sorted({run.run_id for run in found})
    if len(ids) > 1:
        named = ", ".join(ids[:3])
        raise UserError(
            f"run {arguments.run_id!r} is ambiguous: {len(ids)} ids begin with it, such as {named}"
        )
    for number, run in enumerate(found):
        if number:
            print()
        _show(run, lines)
    return 0


def _with_runs(runs: Sequence[Run]) -> str:
    """What there is to show instead."""
    return f"; there are {len(runs)} runs, such as {runs[0].run_id}" if runs else "; there are none"


def _show(run: Run, lines: Iterable[Line]) -> None:
    """Prints a run; the same run may also have been done on another machine."""
    measured = [
        line
        for line in lines
        if isinstance(line, Measurement) and identity_of(line) == identity_of(run)
    ]
    print(tabulate(_facts(run), tablefmt="plain"))
    print()
    print(tabulate(_estimates(measured), ["metric", "value", "95 %", "n", "note"]))


def _facts(run: Run) -> list[tuple[str, object]]:
    settings = " ".join(f"{name}={value}" for name, value in run.config.items())
    where = run.circumstances
    seconds = ", ".join(f"{phase} {value:.2f}" for phase, value in run.cost.seconds.items())
    return [
        ("run", run.run_id),
        ("method", f"{run.method} {settings}".strip()),
        ("scenario", f"{run.scenario.name}: {task(run.scenario, run.basis.class_name)}"),
        ("seed, forget seed", f"{run.replicate.seed}, {run.replicate.forget_seed}"),
        ("draw", run.draw),
        ("source", run.source or "harness"),
        ("status", run.status),
        *([("reason", run.reason)] if run.reason else []),
        *([("logits", run.digest)] if run.digest else []),
        *([("original's logits", run.original)] if run.original else []),
        *([("retrained models' logits", ", ".join(run.retrained))] if run.retrained else []),
        ("seconds", seconds),
        ("passes", f"{run.cost.passes:,.0f}"),
        ("peak GPU memory", run.cost.peak_memory or "not measured"),
        *((name, value) for name, value in where.items() if name != "packages"),
        ("packages", ", ".join(f"{name} {v}" for name, v in where["packages"].items())),
    ]


def _estimates(measured: list[Measurement]) -> list[list[object]]:
    return [
        [
            f"{line.protocol}.{name}",
            "–" if estimate.value is None else f"{estimate.value:.2f}",
            "" if estimate.low is None else f"[{estimate.low:.2f}, {estimate.high:.2f}]",
            estimate.n,
            estimate.note,
        ]
        for line in measured
        for name, estimate in line.estimates.items()
    ]
