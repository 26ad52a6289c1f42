"""Standard streams and signals as a command meets them: closed, full, broken off, in any code."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Stopped(KeyboardInterrupt):
    """A signal asks the command to end, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number


class _Outlet(io.FileIO):
    """A standard stream's descriptor; once it cannot be written to, what is written is dropped."""

    fault: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        if self.fault is None:
            try:
                return super().write(data)
            except OSError as error:
                self.fault = error
        return memoryview(data).nbytes


@contextmanager
def steady() -> Iterator[Callable[[], str]]:
    """Lets a command print whatever becomes of its output: it goes on, and loses no result.

    Characters that the terminal's code lacks are escaped. Gives a function that says why standard
    output lacks a part; empty where it lacks none, or where its reader has gone of its own accord,
    as ``head`` does. Streams that were replaced, as by a test, stay as they are.
    """
    _open_closed()
    before = sys.stdout, sys.stderr
    own = sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__
    outlets = _Outlet(1, "wb", closefd=False), _Outlet(2, "wb", closefd=False)
    if own[0]:
        sys.stdout = _text(outlets[0], before[0])
    if own[1]:
        sys.stderr = _text(outlets[1], before[1])

    def lost() -> str:
        sys.stdout.flush()
        fault = outlets[0].fault
        return "" if fault is None or isinstance(fault, BrokenPipeError) else str(fault.strerror)

    try:
        yield lost
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _open_closed() -> None:
    """Opens what ``<&-`` or ``>&-`` closed, or the next file to be opened would take its place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - the lowest free


def _text(outlet: _Outlet, like: TextIO | None) -> TextIO:
    unbuffered = getattr(like, "write_through", False)  # as PYTHONUNBUFFERED wants it
    return io.TextIOWrapper(
        io.BufferedWriter(outlet),
        encoding=getattr(like, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=unbuffered or getattr(like, "line_buffering", False),
    )


def stoppable() -> AbstractContextManager[None]:
    """Turns SIGTERM and SIGHUP, where they would kill, into ``Stopped``, so that all is put away.

    A process that is forked meanwhile dies of them as if this were not here.
    """
    process = os.getpid()

    def stop(number: int, _: FrameType | None) -> NoReturn:
        if os.getpid() != process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise Stopped(number)

    return _heard(stop, signal.SIGTERM, signal.SIGHUP)


def at_once(words: str) -> AbstractContextManager[None]:
    """Lets Ctrl-C, SIGTERM and SIGHUP end the process with these words; nothing is put away."""

    def end(number: int, _: FrameType | None) -> NoReturn:
        with suppress(OSError):
            os.write(2, f"{words}\n".encode())
        os._exit(128 + number)

    return _heard(end, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _heard(handler: Callable[[int, FrameType | None], NoReturn], *numbers: int) -> Iterator[None]:
    """These signals are the handler's, but for those that the command was started to ignore."""
    usual = signal.SIG_DFL, signal.default_int_handler
    main = threading.current_thread() is threading.main_thread()  # no other may say so
    before = {n: signal.getsignal(n) for n in numbers if main and signal.getsignal(n) in usual}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def one_line(text: str) -> str:
    """The text with whatever is not printable escaped, such as a line's end in a file's name."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(text: str) -> None:
    """Tells the user something on standard error, at once, in the program's name."""
    print(f"unlearn: {text}", file=sys.stderr, flush=True)  # noqa: T201 - it is its job
