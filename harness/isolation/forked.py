"""The life of a forked process: alone, with empty hands, and without a way back."""

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
"""Of Linux's <sys/prctl.h>."""


def live(
    work: Callable[[], Any], memory: mmap.mmap, parent: int, signals: Collection[int]
) -> NoReturn:
    """The life of a forked process: it says what a function returns, and ends.

    ``signals`` are those that its parent holds back at other times than that of a fork.
    """
    own, status = os.getpid(), 1
    try:
        _settle(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        said = json.dumps(work()).encode()
        if os.getpid() == own:
            memory[8 : 8 + len(said)] = said
            memory[:8] = len(said).to_bytes(8, "big")
            status = 0
    except BaseException:
        if os.getpid() == own:
            traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(status)


def _settle(parent: int) -> None:
    """Makes a forked process one of its own."""
    os.setsid()
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # what its processes leave behind is its own while it lives
    if os.getppid() != parent:
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # the program runs without a standard error
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
    """Sets an attribute of this process where the system is Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, int(value), 0, 0, 0)
