"""Does the steps of a plan in parallel; a step that runs plugin code has its own process."""

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
from harness.records.store_lines import RUN
from harness.runs.evidence import stack_without
from harness.runs.keys import LOGITS, MODEL, STACK
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
"""How often to try a lock that another command holds."""


@dataclass(frozen=True)
class Resources:
    """The processes, threads and time that the steps of a plan may use."""

    workers: int = 0
    """The number of parallel processes, each for a single step; if 0, all steps run in this one."""
    threads: int = 1
    """CPU threads of each process."""
    step_timeout: float = math.inf
    """Seconds after which a step's process is killed."""


@dataclass(frozen=True)
class Event:
    """Something that happened to one step, for progress reports."""

    what: str
    """STARTED, RUNNING, WAITING, CHANGED, BROKEN, DONE or FAILED."""
    step: StepId
    reason: str = ""
    """Why, in one line."""
    seconds: float = 0.0


Report = Callable[[Event], None]


@dataclass
class Outcome:
    """What was done of a plan, and what failed."""

    done: Counter[str] = field(default_factory=Counter)
    """Kind of step → how many this command did."""
    failures: dict[tuple[str, str], Result] = field(default_factory=dict)
    """(method or protocol, reason) → the first failure of that kind."""
    left: int = 0
    """The number of steps whose results are still missing."""


@dataclass(eq=False)
class _Shift:
    """A step under way: its process and its lock."""

    step: Step
    child: Child
    lock: ExitStack
    reported: float = 0.0
    """How many seconds it had run when that was last reported."""


def do_plan(
    plan: Plan,
    workspace: Workspace,
    resources: Resources,
    report: Report = lambda _: None,
    *,
    most_passes: float = math.inf,
) -> Outcome:
    """Does steps until all are done, or depend on one that failed.

    Commands may share a store. Each step is done under its lock; this command waits for a step that
    another is doing, and then uses its result. If a method fails, ends its process or takes more
    passes than ``most_passes``, only the steps that depend on it are lost. Ctrl-C stops at once and
    loses only the steps under way. With workers, this process computes nothing and writes only the
    records of runs. A separate process costs 0.04 s of CPU per step, nearly all of it in the kernel
    (EPYC, torch 2.14.1, 860 MB with all plugins loaded, n = 60). Raises StoreError if a result
    cannot be written.
    """
    if resources.workers == 0:
        torch.set_num_threads(resources.threads)
        return _Pool(plan, workspace, resources, report, most_passes=most_passes).work()
    if plan.steps:
        warm()
    with Processes() as processes:
        pool = _Pool(
            plan, workspace, resources, report, most_passes=most_passes, processes=processes
        )
        return pool.work()


class _Pool:
    """The state of the work on one plan."""

    def __init__(
        self,
        plan: Plan,
        workspace: Workspace,
        resources: Resources,
        report: Report,
        *,
        most_passes: float,
        processes: Processes | None = None,
    ) -> None:
        self._plan = plan
        self._workspace = workspace
        self._store = workspace.store
        self._resources = resources
        self._report = report
        self._most_passes = most_passes
        self._processes = processes
        self._queue = Queue(plan)
        self._outcome = Outcome()
        self._shifts: dict[Child, _Shift] = {}
        self._waited_for: set[StepId] = set()
        self._rebuilt: set[StepId] = set()
        self._recorded = {step.id for step in plan.steps if step.id.kind == RUN}

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
                self._processes.end()  # before another command can take over the steps under way
            for shift in self._shifts.values():
                shift.lock.close()
        self._outcome.left = sum(not self._store.has(*step.id) for step in self._plan.steps)
        return self._outcome

    def _start(self) -> list[Step]:
        """Starts as many steps as possible; returns those that another command is doing."""
        taken: list[Step] = []
        while len(self._shifts) < max(1, self._resources.workers):
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
            if self._processes is None or step.id.kind == RUN:  # a record calls no plugin
                self._conclude(step, attempt(*asked))
                return
            child = self._processes.fork(partial(attempt_apart, *asked, self._resources.threads))
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
        """Reports each running step once a second, and kills those that take too long."""
        limit = self._resources.step_timeout
        for shift in self._shifts.values():
            seconds = shift.child.seconds
            if seconds > limit:
                shift.child.kill(f"it took longer than the {limit:g} s of --step-timeout")
            if seconds > shift.reported + 1:
                shift.reported = seconds
                self._report(Event(RUNNING, shift.step.id, seconds=seconds))

    def _result(self, step: Step, ending: Ending) -> Result:
        """How a step ended, after its process has ended."""
        if ending.returned is not None:
            return Result(**ending.returned)
        if self._store.has(*step.id):  # the process died after the step was done
            return Result(DONE, seconds=ending.child.seconds)
        return death(ending.cause)

    def _conclude(self, step: Step, result: Result) -> None:
        """Updates queue, store and outcome after a step has ended."""
        if result.end == DONE:
            self._finish(step, result)
        elif result.end == UNREADABLE:
            self._rebuild(step, result)
        else:
            if result.end == UNWRITTEN:
                self._store.check_space(result.size)  # raises StoreError if the disk is full
            self._fail(step, result)

    def _finish(self, step: Step, result: Result) -> None:
        self._queue.finish(step.id)
        self._outcome.done[step.id.kind] += 1
        if result.reason:
            self._report(Event(CHANGED, step.id, result.reason))
        self._report(Event(DONE, step.id, seconds=result.seconds))

    def _fail(self, step: Step, result: Result) -> None:
        if step.id.kind in (MODEL, LOGITS):
            self._do_without(step, f"{step.run} failed: {result.reason}")
        self._queue.give_up(step.id)
        # a run that is made for an ensemble alone has no record
        if result.is_about_the_method and step.run.record in self._recorded:
            record_failure(step, result.reason, self._store)
        culprit = step.protocol.name if step.protocol else step.run.method
        self._outcome.failures.setdefault((culprit, result.reason), result)
        self._report(Event(FAILED, step.id, result.reason))

    def _do_without(self, step: Step, reason: str) -> None:
        """Notes in each stack that lacks this model why it does, so that its protocols say so."""
        for stack in self._queue.steps.values():
            if stack.id.kind == STACK and step.run.logits in stack.needs:
                stack_without(stack, reason, self._store)
                self._queue.finish(stack.id)

    def _rebuild(self, step: Step, result: Result) -> None:
        """Discards the broken results that a step needs, and queues them before it.

        The step fails if no such result is broken, if one is not part of this plan, or if one was
        rebuilt before, since it would only break again.
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
