"""Runs a plan with as many processes as the machine has cores; nothing done is done again."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import IO

from harness.bench import Bench
from harness.plan import MODEL, Plan, Step
from harness.request import Request
from harness.worker import BROKEN, DONE, FAILED, Event, Report, work


@dataclass
class Outcome:
    """What became of a plan; it grows with the events."""

    done: int = 0
    failures: dict[tuple[str, str], Event] = field(default_factory=dict)
    """(method, what it said) → one of the events that said it."""
    deaths: list[int] = field(default_factory=list)
    """Exit codes of processes that ended before their work did."""


def missing(plan: Plan, bench: Bench, report: Report, *, dry: bool = False) -> Plan:
    """The part of the plan that the store lacks; broken results are reported.

    Unless ``dry``, they are thrown away, too.
    """
    steps = []
    for step in plan.steps:
        if bench.store.has(*step.at):
            fault = bench.store.fault(*step.at)
            if not fault:
                continue
            if not dry:
                bench.store.discard(*step.at)
            report(Event(BROKEN, *step.at, text=fault))
        steps.append(step)
    return Plan(tuple(steps), plan.undefined)


def discard(plan: Plan, bench: Bench, method: str) -> None:
    """Forgets all that was computed for one row, so that it is run again."""
    for step in plan.steps:
        if step.row.method == method:
            bench.store.discard(*step.at)


def run(plan: Plan, bench: Bench, request: Request, workers: int, report: Report) -> Outcome:
    """Does all steps of the plan, in this process or in several.

    A method that fails is reported, and the other rows go on. Ctrl-C stops at once and loses
    nothing but the steps under way.
    """
    outcome = Outcome()
    by_place = {step.at: step for step in plan.steps}

    def tell(event: Event) -> None:
        _count(event, outcome, by_place)
        report(event)

    heavy = sum(step.kind == MODEL for step in plan.steps)
    if min(workers, heavy) > 1:
        _run_in_processes(request, min(workers, heavy), tell, outcome)
    else:
        work(plan, bench, tell, set())
    return outcome


def _count(event: Event, outcome: Outcome, steps: dict[tuple[str, str], Step]) -> None:
    if event.what == DONE:
        outcome.done += 1
    elif event.what == FAILED:
        step = steps[event.kind, event.key]
        at_fault = step.protocol.name if step.protocol else step.row.method
        last_line = event.text.strip().splitlines()[-1]
        outcome.failures.setdefault((at_fault, last_line), event)


def _run_in_processes(request: Request, count: int, tell: Report, outcome: Outcome) -> None:
    events: queue.SimpleQueue[Event | int] = queue.SimpleQueue()
    workers = [_start(request) for _ in range(count)]
    for worker in workers:
        assert worker.stdout is not None
        threading.Thread(
            target=_read, args=(worker.stdout, events, worker.wait), daemon=True
        ).start()
    running = count
    try:
        while running:
            event = events.get()
            if isinstance(event, int):
                running -= 1
                if event:
                    outcome.deaths.append(event)
                continue
            if event.what == FAILED:
                _spread(event, workers)
            tell(event)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _start(request: Request) -> subprocess.Popen[str]:
    worker = subprocess.Popen(
        [sys.executable, "-m", "harness.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": str(request.threads)},
    )
    assert worker.stdin is not None
    print(json.dumps(asdict(request)), file=worker.stdin, flush=True)
    return worker


def _read(lines: IO[str], events: queue.SimpleQueue[Event | int], wait: Callable[[], int]) -> None:
    for line in lines:
        events.put(Event(**json.loads(line)))
    events.put(wait())


def _spread(event: Event, workers: list[subprocess.Popen[str]]) -> None:
    """Tells every process of a failed step, so that none tries it in vain."""
    for worker in workers:
        assert worker.stdin is not None
        try:
            print(json.dumps([event.kind, event.key]), file=worker.stdin, flush=True)
        except OSError:
            continue  # it is gone already, and its end is reported
