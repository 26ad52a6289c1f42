"""Does the steps of a plan, several at once, each that runs a plugin's code in its own process."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import torch

from harness.isolation.processes import Child, Ending, Processes
from harness.records.store import StepId
from harness.records.stored import RUN
from harness.runs.lineage import broken
from harness.runs.plan import Plan, Step
from harness.runs.queue import Queue
from harness.runs.recording import record_failure
from harness.runs.warm import warm
from harness.runs.worker import (
    DONE,
    FAILED,
    UNREADABLE,
    UNWRITTEN,
    Result,
    attempt,
    attempt_apart,
    death,
)
from harness.runs.workspace import Workspace

STARTED, RUNNING, WAITING = "started", "running", "waiting"
CHANGED, BROKEN = "changed", "broken"

POLL_SECONDS = 0.05
"""Between two looks at a lock that another command holds."""


@dataclass(frozen=True)
class Means:
    """What the steps of a plan may use."""

    workers: int = 0
    """Parallel processes, each of which does one step and ends; 0: every step in this process."""
    threads: int = 1
    """Of each process on the CPU."""
    step_timeout: float = math.inf
    """Seconds after which a step's process is killed."""


@dataclass(frozen=True)
class Event:
    """Something that happened to one step, for whoever watches."""

    what: str
    """STARTED, RUNNING, WAITING, CHANGED, BROKEN, DONE or FAILED."""
    step: StepId
    reason: str = ""
    """Why, in one line."""
    seconds: float = 0.0


Report = Callable[[Event], None]


@dataclass
class Outcome:
    """What became of a plan."""

    done: Counter[str] = field(default_factory=Counter)
    """Kind of step → how many of them this command did."""
    failures: dict[tuple[str, str], Result] = field(default_factory=dict)
    """(method or protocol, reason) → the first failure of that kind."""
    left: int = 0
    """Steps whose results are missing in the end."""


@dataclass(eq=False)
class _Shift:
    """A step under way: its process and its lock."""

    step: Step
    child: Child
    lock: ExitStack
    told: float = 0.0
    """At how many seconds its running was last reported."""


def do_plan(
    plan: Plan,
    workspace: Workspace,
    means: Means,
    report: Report = lambda _: None,
    *,
    most_passes: float = math.inf,
) -> Outcome:
    """Does every step that nobody else does, until all are done or depend on one that failed.

    Commands may share a store: each step is done under its lock, one that another command is doing
    is waited for, and what another has done is done. A method that fails, even by ending its
    process, or that takes more passes than ``most_passes``, costs its own steps alone. Ctrl-C stops
    at once and loses only the steps under way. With workers, this process only writes the runs'
    records and computes nothing; a process of its own costs a step 0.04 s of CPU, nearly all of it
    the kernel's (EPYC, torch 2.14.1, 860 MB with all plugins loaded, n = 60). Raises StoreError if
    a result cannot be written.
    """
    if means.workers == 0:
        torch.set_num_threads(means.threads)
        return _Pool(plan, workspace, means, report, most_passes=most_passes).work()
    if plan.steps:
        warm()
    with Processes() as processes:
        pool = _Pool(plan, workspace, means, report, most_passes=most_passes, processes=processes)
        return pool.work()


class _Pool:
    """The state of the work on one plan."""

    def __init__(
        self,
        plan: Plan,
        workspace: Workspace,
        means: Means,
        report: Report,
        *,
        most_passes: float,
        processes: Processes | None = None,
    ) -> None:
        self._plan = plan
        self._workspace = workspace
        self._store = workspace.store
        self._means = means
        self._report = report
        self._most_passes = most_passes
        self._processes = processes
        self._queue = Queue(plan)
        self._outcome = Outcome()
        self._shifts: dict[Child, _Shift] = {}
        self._waited_for: set[StepId] = set()
        self._rebuilt: set[StepId] = set()

    def work(self) -> Outcome:
        """Does all steps."""
        try:
            while self._queue:
                taken = self._start()
                for step in taken:
                    self._queue.put_back(step)
                self._wait(taken)
        finally:
            if self._processes is not None:
                self._processes.end()  # before another command may do the steps under way
            for shift in self._shifts.values():
                shift.lock.close()
        self._outcome.left = sum(not self._store.has(*step.id) for step in self._plan.steps)
        return self._outcome

    def _start(self) -> list[Step]:
        """Starts as many steps as possible; returns those that another command is doing."""
        taken: list[Step] = []
        while len(self._shifts) < max(1, self._means.workers):
            step = self._queue.take()
            if step is None:
                break
            if self._store.has(*step.id):
                self._queue.finish(step.id)
                continue
            with ExitStack() as lock:
                if not lock.enter_context(self._store.lock(*step.id)):
                    taken.append(step)
                elif self._store.has(*step.id):
                    self._queue.finish(step.id)
                else:
                    self._begin(step, lock.pop_all())
        return taken

    def _begin(self, step: Step, lock: ExitStack) -> None:
        with lock:
            self._report(Event(STARTED, step.id))
            asked = (step, self._workspace, self._plan, self._most_passes)
            if self._processes is None or step.id.kind == RUN:  # which calls no plugin
                self._conclude(step, attempt(*asked))
                return
            child = self._processes.fork(partial(attempt_apart, *asked, self._means.threads))
            self._shifts[child] = _Shift(step, child, lock.pop_all())

    def _wait(self, taken: list[Step]) -> None:
        """Waits until a process ends or, if there is none, for another command."""
        if self._shifts and self._processes is not None:
            for ending in self._processes.wait(POLL_SECONDS if taken else math.inf):
                shift = self._shifts.pop(ending.child)
                with shift.lock:
                    self._conclude(shift.step, self._result(shift.step, ending))
            self._watch()
        elif taken:
            if taken[0].id not in self._waited_for:
                self._waited_for.add(taken[0].id)
                self._report(Event(WAITING, taken[0].id))
            time.sleep(POLL_SECONDS)

    def _watch(self) -> None:
        """Reports once a second what is running, and kills what takes too long."""
        limit = self._means.step_timeout
        for shift in self._shifts.values():
            seconds = shift.child.seconds
            if seconds > limit:
                shift.child.kill(f"it took longer than the {limit:g} s of --step-timeout")
            if seconds > shift.told + 1:
                shift.told = seconds
                self._report(Event(RUNNING, shift.step.id, seconds=seconds))

    def _result(self, step: Step, ending: Ending) -> Result:
        """How a step ended whose process has ended."""
        if ending.returned is not None:
            return Result(**ending.returned)
        if self._store.has(*step.id):  # it was killed after its work
            return Result(DONE, seconds=ending.child.seconds)
        return death(ending.cause)

    def _conclude(self, step: Step, result: Result) -> None:
        """Draws the consequences of how a step ended."""
        if result.end == DONE:
            self._finish(step, result)
        elif result.end == UNREADABLE:
            self._rebuild(step, result)
        else:
            if result.end == UNWRITTEN:
                self._store.try_room(result.size)  # else the store is at fault, not the step
            self._fail(step, result)

    def _finish(self, step: Step, result: Result) -> None:
        self._queue.finish(step.id)
        self._outcome.done[step.id.kind] += 1
        if result.reason:
            self._report(Event(CHANGED, step.id, result.reason))
        self._report(Event(DONE, step.id, seconds=result.seconds))

    def _fail(self, step: Step, result: Result) -> None:
        self._queue.give_up(step.id)
        if result.is_about_the_method:
            record_failure(step, result.reason, self._store)
        culprit = step.protocol.name if step.protocol else step.run.method
        self._outcome.failures.setdefault((culprit, result.reason), result)
        self._report(Event(FAILED, step.id, result.reason))

    def _rebuild(self, step: Step, result: Result) -> None:
        """Discards the broken results that a step needs, and queues them before it.

        The step fails if none is broken, if another command has to rebuild one, and if one broke
        again, which it would do for good.
        """
        lost = ""
        faults = broken(step, self._store)
        for need, fault in faults.items():
            if need not in self._queue.steps or need in self._rebuilt:
                lost = lost or f"{fault}; `unlearn run` rebuilds it"
                continue
            self._rebuilt.add(need)
            self._store.discard(*need)
            self._queue.renew(need)
            self._report(Event(BROKEN, need, fault))
        if lost:
            self._fail(step, Result(FAILED, text=lost, reason=lost))
        elif not faults:
            self._fail(step, result)
        else:
            self._queue.put_back(step)
