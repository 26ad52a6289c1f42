"""What a forked process does: detach itself, call one function, write the result and exit."""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import signal
import sys
import traceback
from collections.abc import Callable, Collection
from typing import Any, NoReturn

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 1, 36, 37
"""From Linux's <sys/prctl.h>."""


def run_in_child(
    work: Callable[[], Any], memory: mmap.mmap, parent: int, blocked: Collection[int]
) -> NoReturn:
    """Calls ``work`` in a process just forked, writes the result to shared memory, and exits.

    ``blocked`` are the signals that the parent blocks outside of forking. A process that ``work``
    forks, and that returns from it too, writes nothing.
    """
    own = os.getpid()
    status = 1
    try:
        _detach(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        result = json.dumps(work()).encode()
        if os.getpid() == own:
            memory[8 : 8 + len(result)] = result
            memory[:8] = len(result).to_bytes(8, "big")
            status = 0
    except BaseException:
        if os.getpid() == own:
            traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(status)


def _detach(parent: int) -> None:
    """Gives the process its own session, default signal handlers and safe standard streams.

    It also dies with its parent.
    """
    os.setsid()
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # it adopts the orphans of its own processes
    if os.getppid() != parent:  # it died before prctl
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # the program has no standard error
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
    os.close(nothing)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stderr = open(  # noqa: SIM115
        2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    sys.breakpointhook = _no_debugger


def _no_debugger(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("breakpoint() needs a terminal, which this process lacks; use --workers 0")


def prctl(option: int, value: int) -> None:
    """Sets an attribute of this process; does nothing on systems other than Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, int(value), 0, 0, 0)
