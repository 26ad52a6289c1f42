"""Which signals reach a program while it has forked processes, and what they do."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn


@contextmanager
def signals_handled() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP unwind the stack, and lets ``waitpid`` see how children end.

    Handlers that the program has set itself stay in place.
    """
    changes: list[tuple[int, Any, Any]] = [
        (signal.SIGTERM, signal.SIG_DFL, _exit),
        (signal.SIGHUP, signal.SIG_DFL, _exit),
        (signal.SIGCHLD, signal.SIG_IGN, signal.SIG_DFL),  # while ignored, it hides every ending
    ]
    before: dict[int, Any] = {}
    try:
        for number, expected, handler in changes:
            with suppress(ValueError):  # only the main thread may set a handler
                if signal.getsignal(number) is expected:
                    before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def signals_blocked() -> Iterator[Collection[int]]:
    """Blocks all signals, so that no handler runs; yields those that were blocked before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
