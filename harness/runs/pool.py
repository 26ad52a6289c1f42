"""Does the steps of a plan, several at once, each that runs a plugin's code in its own process."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import torch

from harness.isolation.processes import Child, Ending, Family
from harness.records.stored import RUN
from harness.runs.plan import Plan, Step
from harness.runs.queue import Schedule
from harness.runs.recording import record_failure
from harness.runs.steps import Bench
from harness.runs.warm import warm
from harness.runs.worker import (
    BROKEN,
    CHANGED,
    DONE,
    EDITED,
    FAILED,
    RUNNING,
    STARTED,
    UNREADABLE,
    UNWRITTEN,
    WAITING,
    Event,
    Report,
    attempt,
    attempt_apart,
    death,
    mend,
)

POLL_SECONDS = 0.05
"""Between two looks at a lock that another command holds."""


@dataclass(frozen=True)
class Means:
    """What the steps of a plan may take."""

    workers: int = 0
    """Processes at once, each of which does one step and ends; 0: every step in this process."""
    threads: int = 1
    """Of each process on the CPU."""
    step_timeout: float = math.inf
    """Seconds after which a step's process is killed."""
    most_passes: float = math.inf
    """A method that takes more is stopped."""


@dataclass(eq=False)
class _Shift:
    """A step under way: its process and its lock."""

    step: Step
    child: Child
    lock: ExitStack
    told: float = 0.0
    """How many seconds of it were told last."""


def work(plan: Plan, bench: Bench, report: Report, means: Means) -> None:
    """Does every step that nobody else does, until all are done or hang on one that failed.

    Several commands may share a store: a step is done under its lock, one that another command is
    at is waited for, and what another has done is done. This process computes nothing where it has
    others to do so; it only writes runs' records. A process of its own costs a step 0.04 s of CPU,
    nearly all of it the kernel's (EPYC, torch 2.14.1, 860 MB with all plugins loaded, n = 60).
    Raises StoreError where it cannot write.
    """
    if means.workers == 0:
        torch.set_num_threads(means.threads)
        _Scheduler(plan, bench, report, means, None).work()
        return
    if plan.steps:
        warm()
    with Family() as family:
        _Scheduler(plan, bench, report, means, family).work()


class _Scheduler:
    """The state of one plan's work."""

    def __init__(
        self, plan: Plan, bench: Bench, report: Report, means: Means, family: Family | None
    ) -> None:
        self._plan = plan
        self._schedule = Schedule(plan)
        self._bench = bench
        self._report = report
        self._means = means
        self._family = family
        self._shifts: dict[Child, _Shift] = {}
        self._waited: set[tuple[str, str]] = set()
        self._renewed: set[tuple[str, str]] = set()

    def work(self) -> None:
        """Does all steps."""
        try:
            while self._schedule:
                others = self._start()
                for step in others:
                    self._schedule.put_back(step)
                self._wait(others)
        finally:
            if self._family is not None:
                self._family.end()  # before another command may do what they are at
            for shift in self._shifts.values():
                shift.lock.close()

    def _start(self) -> list[Step]:
        """Starts what can be started; gives the steps that another command is at."""
        others: list[Step] = []
        while len(self._shifts) < max(1, self._means.workers):
            step = self._schedule.take()
            if step is None:
                break
            if self._bench.store.has(*step.at):
                self._schedule.finish(step.at)
                continue
            with ExitStack() as lock:
                if not lock.enter_context(self._bench.store.lock(*step.at)):
                    others.append(step)
                elif self._bench.store.has(*step.at):
                    self._schedule.finish(step.at)
                else:
                    self._begin(step, lock.pop_all())
        return others

    def _begin(self, step: Step, lock: ExitStack) -> None:
        with lock:
            self._report(Event(STARTED, *step.at))
            if self._family is None or step.kind == RUN:
                most = self._means.most_passes
                self._conclude(step, attempt(step, self._bench, self._plan, most))
                return
            bench, plan, means = self._bench, self._plan, self._means
            work = partial(attempt_apart, step, bench, plan, means.most_passes, means.threads)
            child = self._family.fork(work)
            self._shifts[child] = _Shift(step, child, lock.pop_all())

    def _wait(self, others: list[Step]) -> None:
        """Waits for the end of a process or, where there is none, for another command."""
        if self._shifts and self._family is not None:
            for ending in self._family.wait(POLL_SECONDS if others else math.inf):
                shift = self._shifts.pop(ending.child)
                with shift.lock:
                    self._conclude(shift.step, self._verdict(shift.step, ending))
            self._watch()
        elif others:
            if others[0].at not in self._waited:
                self._waited.add(others[0].at)
                self._report(Event(WAITING, *others[0].at))
            time.sleep(POLL_SECONDS)

    def _watch(self) -> None:
        for shift in self._shifts.values():
            seconds = shift.child.seconds
            if seconds > self._means.step_timeout:
                limit = self._means.step_timeout
                shift.child.kill(f"it took longer than the {limit:g} s of --step-timeout")
            if seconds > shift.told + 1:
                shift.told = seconds
                self._report(Event(RUNNING, *shift.step.at, seconds=seconds))

    def _verdict(self, step: Step, ending: Ending) -> Event:
        """How a step ended whose process has ended."""
        if ending.said is not None:
            return Event(**ending.said)
        if self._bench.store.has(*step.at):  # it was killed after its work
            return Event(DONE, *step.at, seconds=ending.child.seconds)
        return death(step, ending.epitaph)

    def _conclude(self, step: Step, event: Event) -> None:
        if event.what == UNREADABLE:
            once = self._schedule.steps.keys() - self._renewed  # what breaks again breaks for good
            mend(step, self._bench.store, self._note, once, event)
            self._schedule.put_back(step)
        elif event.what == UNWRITTEN:
            self._bench.store.try_room(event.size)  # or the store is at fault, not the step
            self._note(replace(event, what=FAILED))
        else:
            if event.what == DONE and event.text:
                self._note(replace(event, what=CHANGED, reason=event.text))
            self._note(event)

    def _note(self, event: Event) -> None:
        if event.what == FAILED:
            self._schedule.give_up(event.at)
            if event.cause != EDITED:
                step = self._schedule.steps[event.at]
                record_failure(step, event.reason, self._bench.store)
        elif event.what == BROKEN:
            self._renewed.add(event.at)
            self._schedule.renew(event.at)
        elif event.what == DONE:
            self._schedule.finish(event.at)
        self._report(event)
