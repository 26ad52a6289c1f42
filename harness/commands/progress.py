"""Shows progress on a terminal: what is running, what is done and how much time is left."""

from __future__ import annotations

import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from harness.records.store import StepId
from harness.runs.keys import MODEL
from harness.runs.plan import Plan
from harness.runs.pool import BROKEN, CHANGED, RUNNING, STARTED, WAITING, Event
from harness.runs.remaining import Remaining
from harness.runs.worker import DONE, FAILED

SLOW = 10
"""A step is reported as slow if it takes this many times its method's median."""

SLOW_SECONDS = 5.0
"""No faster step is reported as slow; other load on the machine could explain its time."""

MESSAGES = {
    BROKEN: "corrupt; rebuilding: {event.reason}",
    CHANGED: "changed: {event.reason}",
    FAILED: "failed: {event.reason}",
    WAITING: "another command is working on it; waiting",
}


class Progress:
    """Reports events; its bar counts only models to be made, since all else takes little time."""

    def __init__(self, plan: Plan, workers: int) -> None:
        self._runs = {step.id: step.run for step in plan.steps}
        self._workers = workers
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._running: dict[StepId, str] = {}
        self._left: list[str] = []
        self._slow: set[StepId] = set()
        self._bar: Bar | None = None

    @contextmanager
    def showing(self, todo: Plan) -> Iterator[None]:
        """Shows the bar while the steps of a plan are done."""
        self._left = [step.run.method for step in todo.steps if step.id.kind == MODEL]
        console = Console(stderr=True, force_terminal=sys.stderr.isatty())  # ignores FORCE_COLOR
        if not console.is_terminal or console.is_dumb_terminal or not todo.steps:
            yield
            return
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        # drawn at each event; a drawing thread could hold a lock at the moment of a fork
        with Bar(*columns, console=console, transient=True, auto_refresh=False) as self._bar:
            self._task = self._bar.add_task("", total=len(self._left))
            yield
        self._bar = None

    def report(self, event: Event) -> None:
        """Updates the bar and prints a message if the event calls for one."""
        run = self._runs[event.step]
        if event.what == STARTED and event.step.kind == MODEL:
            self._running[event.step] = str(run)
        elif event.what in (DONE, FAILED) and event.step.kind == MODEL:
            self._running.pop(event.step, None)
            if run.method in self._left:
                self._left.remove(run.method)
            if event.what == DONE:
                self._seconds[run.method].append(event.seconds)
        if event.what == RUNNING:
            self._report_if_slow(event, run.method)
        elif event.what in MESSAGES:
            self._say(f"unlearn: {run}: {MESSAGES[event.what].format(event=event)}")
        self._draw()

    def report_broken(self, rest: Remaining) -> None:
        """Reports the results that are broken and will be rebuilt."""
        for step, fault in rest.broken.items():
            self.report(Event(BROKEN, step, fault))

    def _report_if_slow(self, event: Event, method: str) -> None:
        """Reports once a step that takes much longer than others of its method."""
        seen = self._seconds[method]
        usual = statistics.median(seen) if seen else math.inf
        if event.seconds > max(SLOW * usual, SLOW_SECONDS) and event.step not in self._slow:
            self._slow.add(event.step)
            self._say(
                f"unlearn: {self._runs[event.step]}: has taken {event.seconds:.0f} s so far; half "
                f"of its method's runs took at most {usual:.1f} s; --step-timeout would end it"
            )

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr)

    def _draw(self) -> None:
        if self._bar is None:
            return
        names = "; ".join(self._running.values())
        total = self._bar.tasks[0].total or 0
        self._bar.update(
            self._task,
            completed=total - len(self._left),
            description=f"{self._time_left()} {names}",
            refresh=True,
        )

    def _time_left(self) -> str:
        """Estimated from the mean time of each method's runs, or of all runs for a new method."""
        seen = [second for seconds in self._seconds.values() for second in seconds]
        if not seen:
            return "…"
        expected = sum(statistics.fmean(self._seconds.get(method) or seen) for method in self._left)
        minutes, seconds = divmod(round(expected / self._workers), 60)
        return f"{minutes}:{seconds:02d} left ·"
