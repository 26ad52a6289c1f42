"""Runs a plan with as many processes as the machine has cores; nothing done is done again."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.bench import Bench
from harness.errors import UserError
from harness.plan import MODEL, Plan, Step
from harness.request import Request
from harness.worker import DONE, FAILED, STARTED, STOPPED, Event, Report, work


@dataclass
class Outcome:
    """What became of a plan; it grows with the events."""

    done: Counter[str] = field(default_factory=Counter)
    """Kind of step → how many of them this command did."""
    failures: dict[tuple[str, str], Event] = field(default_factory=dict)
    """(method, what it said) → one of the events that said it."""
    deaths: list[int] = field(default_factory=list)
    """Exit statuses of processes that ended before their work did, and not at a step."""
    left: int = 0
    """Steps whose results are not there in the end."""


def run(plan: Plan, bench: Bench, request: Request, workers: int, report: Report) -> Outcome:
    """Does all steps of the plan: in processes of their own, or with 0 workers in this one.

    A method that fails is reported, and the other rows go on, also where it ends its process:
    another takes that one's place. Ctrl-C stops at once and loses nothing but the steps under way.
    Raises UserError where a result cannot be written.
    """
    outcome = Outcome()
    by_place = {step.at: step for step in plan.steps}

    def tell(event: Event) -> None:
        _count(event, outcome, by_place)
        report(event)

    heavy = sum(step.kind == MODEL for step in plan.steps)
    if min(workers, heavy) > 0:
        _run_in_processes(request, min(workers, heavy), tell, outcome)
    else:
        work(plan, bench, tell, set())
    outcome.left = sum(not bench.store.has(*step.at) for step in plan.steps)
    return outcome


def _count(event: Event, outcome: Outcome, steps: dict[tuple[str, str], Step]) -> None:
    if event.what == DONE:
        outcome.done[event.kind] += 1
    elif event.what == FAILED:
        step = steps[event.at]
        at_fault = step.protocol.name if step.protocol else step.row.method
        last_line = event.text.strip().splitlines()[-1]
        outcome.failures.setdefault((at_fault, last_line), event)


@dataclass(eq=False)
class _Worker:
    """A process, and the step that it is at."""

    process: subprocess.Popen[str]
    step: tuple[str, str] | None = None

    def send(self, value: Any) -> None:
        """Writes a line to its standard input."""
        assert self.process.stdin is not None
        # One that is gone already reads nothing; its end is reported.
        with contextlib.suppress(OSError):
            print(json.dumps(value), file=self.process.stdin, flush=True)

    def end(self) -> None:
        """Kills the process where it still lives, and lets go of it."""
        assert self.process.stdin is not None
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            self.process.stdin.close()


def _run_in_processes(request: Request, count: int, tell: Report, outcome: Outcome) -> None:
    crew = _Crew(request, outcome.deaths)
    try:
        for _ in range(count):
            crew.start()
        while crew.workers:
            for event in crew.hear():
                tell(event)
    finally:
        for worker in crew.workers:
            worker.end()


class _Crew:
    """The processes that work on one request, and what they tell."""

    def __init__(self, request: Request, deaths: list[int]) -> None:
        self.workers: set[_Worker] = set()
        self._request = request
        self._deaths = deaths
        self._given_up: list[tuple[str, str]] = []
        self._said: queue.SimpleQueue[tuple[_Worker, Event | int]] = queue.SimpleQueue()

    def start(self) -> None:
        """One process more."""
        with _ctrl_c_ignored():  # it inherits that, and is deaf from its first moment
            process = subprocess.Popen(
                [sys.executable, "-m", "harness.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, "OMP_NUM_THREADS": str(self._request.threads)},
            )
        worker = _Worker(process)
        self.workers.add(worker)
        worker.send(asdict(self._request))
        worker.send(self._given_up)
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()

    def hear(self) -> Iterator[Event]:
        """Waits for the next thing told; the end of a process at a step is that step's failure.

        Raises UserError where the run cannot go on.
        """
        worker, event = self._said.get()
        if isinstance(event, Event):
            yield self._note(worker, event)
            return
        self.workers.remove(worker)
        worker.end()
        if worker.step is not None:
            failure = Event(FAILED, *worker.step, text=_epitaph(event))
            yield self._note(worker, failure)
            self.start()
        elif event:
            self._deaths.append(event)

    def _note(self, worker: _Worker, event: Event) -> Event:
        if event.what == STOPPED:
            raise UserError(event.text)
        worker.step = event.at if event.what == STARTED else None
        if event.what == FAILED:  # none shall try it in vain
            self._given_up.append(event.at)
            for other in self.workers:
                other.send(event.at)
        return event

    def _listen(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        with worker.process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):  # the last words of one that was killed may break off
                    self._said.put((worker, Event(**json.loads(line))))
        self._said.put((worker, worker.process.wait()))


def _epitaph(status: int) -> str:
    reason = ": out of memory, or killed" if status == -signal.SIGKILL else ""
    return f"the process died (status {status}{reason}); the same command tries this again"


@contextlib.contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
