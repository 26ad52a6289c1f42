"""Runs functions in forked processes of their own, and leaves none of their processes behind."""

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
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from harness.errors import UserError
from harness.isolation.forked import PR_GET_CHILD_SUBREAPER, PR_SET_CHILD_SUBREAPER, live, prctl

ROOM = 1 << 20
"""Bytes for what a process says at its end, unless more is asked for."""

PATIENCE = 1.0
"""Seconds that a process may stand still: a batch system stops and wakes all of a job's."""

SIGHT = 0.5
"""Seconds between two looks at what no descriptor tells: whether a process was stopped."""


@dataclass(eq=False)
class Child:
    """A process that was forked to call one function."""

    pid: int
    memory: mmap.mmap
    """Shared with it, so that no descriptor has to survive what it calls: a length, then JSON."""
    started: float = field(default_factory=time.monotonic)
    pidfd: int = -1
    stopped: float | None = None
    """Since when it stands still."""
    sentence: str = ""
    """Why its parent killed it."""

    @property
    def seconds(self) -> float:
        """How long it has been there."""
        return time.monotonic() - self.started

    def kill(self, sentence: str = "") -> None:
        """Ends it at once; ``sentence`` is the reason that its end will tell."""
        self.sentence = self.sentence or sentence
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@dataclass(frozen=True, eq=False)
class Ending:
    """How a process ended."""

    child: Child
    said: Any
    """What its function returned; none where it returned nothing, or not at all."""
    status: int
    """What it exited with; below 0 the signal that killed it."""

    @property
    def epitaph(self) -> str:
        """Why it said nothing, in a few words."""
        if self.child.sentence:
            return self.child.sentence
        reason = ""
        if self.status == -signal.SIGKILL:
            reason = ": out of memory, or killed"
        elif self.status < 0:
            reason = f": {signal.Signals(-self.status).name}"
        return f"the process died (status {self.status}{reason})"


class Family:
    """The forked processes of this one; all of them end with the block that it is used in.

    A process has a session of its own, so that no key of the terminal reaches it, an empty
    standard input, and its prints go to standard error. It ends with its parent, and with it end
    the processes that it started, whatever became of them: they are killed as soon as it is gone.
    So no thread of the program may start processes in the meantime. While a block is active,
    SIGTERM and SIGHUP raise SystemExit where they would have ended the program without a chance to
    clean up.
    """

    def __init__(self) -> None:
        self.children: list[Child] = []
        self._strangers: set[int] = set()
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Family:
        if not hasattr(os, "fork"):
            raise UserError("this system cannot fork processes; use --workers 0")
        self._undo.enter_context(_adopting())
        self._undo.enter_context(_orderly_ends())
        self._undo.enter_context(_settled_objects())
        self._strangers = _offspring()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._undo.close()

    def end(self) -> None:
        """Kills all processes, and waits until they are gone."""
        with _undisturbed():
            for child in self.children:
                child.kill()
            while self.children:
                self.wait(SIGHT)
            self._end_orphans()

    def fork(self, work: Callable[[], Any], room: int = ROOM) -> Child:
        """Starts a process that calls a function; what this returns must have a JSON form."""
        memory = mmap.mmap(-1, room)
        parent = os.getpid()
        for stream in (sys.stdout, sys.stderr):  # or both would write what is still in it
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        with _undisturbed() as signals:
            with warnings.catch_warnings():  # of threads: those of BLAS know what a fork is
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                live(work, memory, parent, signals)
            child = Child(pid, memory)
            self.children.append(child)
            if hasattr(os, "pidfd_open"):
                child.pidfd = os.pidfd_open(pid)
        return child

    def ask(self, work: Callable[[], Any]) -> Ending:
        """Waits for what a function returns in a process of its own."""
        child = self.fork(work)
        while True:
            for ending in self.wait(SIGHT):
                if ending.child is child:
                    return ending

    def each(
        self, works: Mapping[str, Callable[[], Any]], at_once: int, room: int = ROOM
    ) -> Iterator[tuple[str, Ending]]:
        """Calls functions in processes of their own; gives name and ending as each ends."""
        waiting = [*works][::-1]
        names: dict[Child, str] = {}
        while waiting or names:
            while waiting and len(names) < at_once:
                name = waiting.pop()
                names[self.fork(works[name], room)] = name
            for ending in self.wait(math.inf):
                yield names.pop(ending.child), ending

    def wait(self, seconds: float) -> list[Ending]:
        """Waits until a process ended, at most so long; gives all that did."""
        watch = select.poll()
        blind = not all(child.pidfd >= 0 for child in self.children)
        for child in self.children:
            if child.pidfd >= 0:
                watch.register(child.pidfd, select.POLLIN)
        limit = min(seconds, 0.01 if blind else SIGHT)
        watch.poll(limit * 1000)
        return [ending for child in [*self.children] if (ending := self._look(child))]

    def _look(self, child: Child) -> Ending | None:
        now = time.monotonic()
        flags = os.WNOHANG | os.WUNTRACED | getattr(os, "WCONTINUED", 0)
        pid, status = os.waitpid(child.pid, flags)
        if pid and os.WIFSTOPPED(status):
            child.stopped = now
        elif pid and os.WIFCONTINUED(status):
            child.stopped = None
        elif pid:
            return self._bury(child, os.waitstatus_to_exitcode(status))
        if child.stopped is not None and now - child.stopped > PATIENCE:
            child.kill("the process was stopped")
        return None

    def _bury(self, child: Child, status: int) -> Ending:
        self.children.remove(child)
        if child.pidfd >= 0:
            os.close(child.pidfd)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        self._end_orphans()
        length = int.from_bytes(child.memory[:8], "big")
        said = json.loads(child.memory[8 : 8 + length]) if length else None
        child.memory.close()
        return Ending(child, said, status)

    def _end_orphans(self) -> None:
        """Kills what ended processes left behind; those of a living one are still its own."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            own = self._strangers | {child.pid for child in self.children}
            orphans = _offspring() - own
            if not orphans:
                return
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            for pid in orphans:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)


def _offspring() -> set[int]:
    """The processes whose parent is this one; empty where the system cannot tell."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.update(map(int, path.read_text().split()))
    return found


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Processes whose parent is gone become this one's, where the system can do that."""
    before = ctypes.c_int(0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, before.value)


@contextlib.contextmanager
def _settled_objects() -> Iterator[None]:
    """No child's garbage collection looks at what is there already.

    It would touch, and so copy, every object: 0.35 s of CPU a collection with torch loaded (EPYC,
    Python 3.11, n = 20), of which 0.04 s, those of the fork itself, are left.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def _orderly_ends() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP unwind the stack, and keeps the ends of children to be heard."""
    wanted: dict[int, Any] = {
        signal.SIGTERM: _leave,
        signal.SIGHUP: _leave,
        signal.SIGCHLD: signal.SIG_DFL,  # where it is ignored, nobody hears of an end
    }
    before: dict[int, Any] = {}
    try:
        for number, handler in wanted.items():
            found = signal.getsignal(number)
            ours = found is signal.SIG_IGN if number == signal.SIGCHLD else found is signal.SIG_DFL
            with contextlib.suppress(ValueError):  # not in the main thread
                if ours:  # a program that has handlers of its own knows what it does
                    before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _undisturbed() -> Iterator[Collection[int]]:
    """No signal's handler runs within the block; gives the signals that were held back before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
