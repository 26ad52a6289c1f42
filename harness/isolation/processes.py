"""Runs functions in forked processes, and leaves no process behind, not even a grandchild."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import math
import mmap
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.isolation.forked import (
    PR_GET_CHILD_SUBREAPER,
    PR_SET_CHILD_SUBREAPER,
    prctl,
    run_in_child,
)
from harness.isolation.signals import signals_blocked, signals_handled

RESULT_BYTES = 1 << 20
"""The default limit on what a function returns, as JSON."""

STOPPED_SECONDS = 1.0
"""How long a process may stay stopped; a batch system may suspend and resume a whole job."""

POLL_SECONDS = 0.5
"""How often to look for stopped processes, which no descriptor reports."""

NO_PIDFD_POLL_SECONDS = 0.01
"""How often to look for ended processes on a system without pidfds."""

ORPHAN_SECONDS = 10.0
"""How long to go on killing orphans, which may keep forking."""


@dataclass(eq=False)
class Child:
    """A process that was forked to call one function."""

    pid: int
    memory: mmap.mmap
    """Shared memory for the result, its length before its JSON; needs no open descriptor."""
    started: float = field(default_factory=time.monotonic)
    pidfd: int = -1
    stopped: float | None = None
    """When it was stopped; None while it runs."""
    kill_reason: str = ""
    """Why its parent killed it; empty if it did not."""

    @property
    def seconds(self) -> float:
        """How long ago it started."""
        return time.monotonic() - self.started

    def kill(self, reason: str = "") -> None:
        """Kills the process at once; the first reason given is the one reported."""
        self.kill_reason = self.kill_reason or reason
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def result(self) -> Any:
        """What the function returned; None if it did not return. Call it once, after the end."""
        length = int.from_bytes(self.memory[:8], "big")
        value = json.loads(self.memory[8 : 8 + length]) if length else None
        self.memory.close()
        return value


@dataclass(frozen=True, eq=False)
class Ending:
    """How a process ended."""

    child: Child
    returned: Any
    """What its function returned; None also if the function did not return."""
    status: int
    """The exit status; a negative value is the signal that killed the process."""

    @property
    def cause(self) -> str:
        """Why the process ended without a result, in a few words."""
        if self.child.kill_reason:
            return self.child.kill_reason
        reason = ""
        if self.status == -signal.SIGKILL:
            reason = ": out of memory, or killed"
        elif self.status < 0:
            reason = f": {signal.Signals(-self.status).name}"
        return f"the process died (status {self.status}{reason})"


class Processes:
    """Forked processes; leaving the ``with`` block kills those that still run.

    Each process has its own session, so that no key pressed in the terminal reaches it. Its
    standard input is empty, and its prints go to standard error. When it ends, every process that
    it started is killed, even one that detached itself: this process adopts orphans, and takes any
    new child that it did not fork here for one. So the program must not start other processes
    inside the block. In the block, SIGTERM and SIGHUP raise SystemExit if they would otherwise
    have ended the program without clean-up.
    """

    def __init__(self) -> None:
        self.children: list[Child] = []
        self._others: set[int] = set()
        """The children that this process had before the block."""
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Processes:
        if not hasattr(os, "fork"):
            raise UserError("this system cannot fork processes; use --workers 0")
        self._undo.enter_context(_adopting_orphans())
        self._undo.enter_context(signals_handled())
        self._undo.enter_context(_objects_frozen())
        self._others = _child_pids()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._undo.close()

    def end(self) -> None:
        """Kills all processes and waits until they are gone."""
        with signals_blocked():
            for child in self.children:
                child.kill()
            while self.children:
                self.wait(POLL_SECONDS)
            self._kill_orphans()

    def fork(self, work: Callable[[], Any], result_bytes: int = RESULT_BYTES) -> Child:
        """Starts a process that calls ``work``, whose result must have a JSON form."""
        memory = mmap.mmap(-1, result_bytes)
        parent = os.getpid()
        for stream in (sys.stdout, sys.stderr):  # or both processes would write what is buffered
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        with signals_blocked() as blocked_before:
            with warnings.catch_warnings():  # about threads; those of BLAS survive a fork
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                run_in_child(work, memory, parent, blocked_before)
            child = Child(pid, memory)
            self.children.append(child)
            if hasattr(os, "pidfd_open"):
                child.pidfd = os.pidfd_open(pid)
        return child

    def call(self, work: Callable[[], Any]) -> Ending:
        """Calls a function in its own process and waits until that has ended."""
        child = self.fork(work)
        while True:
            for ending in self.wait(POLL_SECONDS):
                if ending.child is child:
                    return ending

    def each(
        self, works: Mapping[str, Callable[[], Any]], at_once: int, result_bytes: int = RESULT_BYTES
    ) -> Iterator[tuple[str, Ending]]:
        """Calls each function in its own process; yields name and ending as each one ends."""
        waiting = [*works][::-1]
        names: dict[Child, str] = {}
        while waiting or names:
            while waiting and len(names) < at_once:
                name = waiting.pop()
                names[self.fork(works[name], result_bytes)] = name
            for ending in self.wait(math.inf):
                yield names.pop(ending.child), ending

    def wait(self, seconds: float) -> list[Ending]:
        """Waits until a process ends, at most this long; returns the endings, often none."""
        pidfds = [child.pidfd for child in self.children]
        poll = select.poll()
        for pidfd in pidfds:
            if pidfd >= 0:
                poll.register(pidfd, select.POLLIN)
        limit = NO_PIDFD_POLL_SECONDS if -1 in pidfds else POLL_SECONDS
        poll.poll(min(seconds, limit) * 1000)
        return [ending for child in [*self.children] if (ending := self._check(child))]

    def _check(self, child: Child) -> Ending | None:
        """The ending of a child that has ended; kills one that was stopped for too long."""
        now = time.monotonic()
        flags = os.WNOHANG | os.WUNTRACED | getattr(os, "WCONTINUED", 0)
        pid, status = os.waitpid(child.pid, flags)
        if pid and os.WIFSTOPPED(status):
            child.stopped = now
        elif pid and os.WIFCONTINUED(status):
            child.stopped = None
        elif pid:
            return self._reap(child, os.waitstatus_to_exitcode(status))
        if child.stopped is not None and now - child.stopped > STOPPED_SECONDS:
            child.kill("the process was stopped")
        return None

    def _reap(self, child: Child, status: int) -> Ending:
        """Cleans up after a child that has ended: its descriptor, its processes, its memory."""
        self.children.remove(child)
        if child.pidfd >= 0:
            os.close(child.pidfd)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        self._kill_orphans()
        return Ending(child, child.result(), status)

    def _kill_orphans(self) -> None:
        """Kills what ended children left behind; a running child keeps its own descendants."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        while time.monotonic() < deadline:
            orphans = _child_pids() - self._others - {child.pid for child in self.children}
            if not orphans:
                return
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            for pid in orphans:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)


def _child_pids() -> set[int]:
    """The children of this process; empty on a system without ``/proc``."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.update(map(int, path.read_text().split()))
    return found


@contextlib.contextmanager
def _adopting_orphans() -> Iterator[None]:
    """On Linux, makes this process the parent of any descendant that loses its own."""
    before = ctypes.c_int(0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, before.value)


@contextlib.contextmanager
def _objects_frozen() -> Iterator[None]:
    """Keeps existing objects out of garbage collection in every child.

    A collection writes to every object that it visits, and so copies its memory page: 0.35 s of
    CPU a collection with torch loaded (EPYC, Python 3.11, n = 20). Of that, 0.04 s remain, the
    cost of the fork itself.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
