"""Makes a command robust to broken standard streams and to signals; prints messages."""

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
    """A signal asked the command to end, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number


class _Outlet(io.FileIO):
    """The descriptor of a standard stream; after the first failed write, output is dropped."""

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
    """Lets a command go on, and lose no result, even if its output cannot be written.

    Characters outside the terminal's encoding are escaped. Yields a function that says why standard
    output is incomplete. Its answer is empty if nothing is missing, or if the reader closed the
    pipe, as ``head`` does. Streams that were replaced, for example by a test, stay as they are.
    """
    _open_closed()
    out_before = sys.stdout
    err_before = sys.stderr
    out = _Outlet(1, "wb", closefd=False)
    err = _Outlet(2, "wb", closefd=False)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(out, out_before)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(err, err_before)

    def lost() -> str:
        sys.stdout.flush()
        fault = out.fault
        return "" if fault is None or isinstance(fault, BrokenPipeError) else str(fault.strerror)

    try:
        yield lost
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout = out_before
        sys.stderr = err_before


def _open_closed() -> None:
    """Opens what ``<&-`` or ``>&-`` closed; the next file opened would take its descriptor."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - the lowest free one


def _text(outlet: _Outlet, like: TextIO | None) -> TextIO:
    unbuffered = getattr(like, "write_through", False)  # PYTHONUNBUFFERED is set
    return io.TextIOWrapper(
        io.BufferedWriter(outlet),
        encoding=getattr(like, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=unbuffered or getattr(like, "line_buffering", False),
    )


def stoppable() -> AbstractContextManager[None]:
    """Makes SIGTERM and SIGHUP raise ``Stopped``, so that clean-up runs, if they would kill.

    In a process forked inside the block, these signals kill as usual.
    """
    process = os.getpid()

    def stop(number: int, _: FrameType | None) -> NoReturn:
        if os.getpid() != process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise Stopped(number)

    return _handled(stop, signal.SIGTERM, signal.SIGHUP)


def exit_at_once(message: str) -> AbstractContextManager[None]:
    """Makes Ctrl-C, SIGTERM and SIGHUP print a message and end the process without clean-up."""

    def end(number: int, _: FrameType | None) -> NoReturn:
        with suppress(OSError):
            os.write(2, f"{message}\n".encode())
        os._exit(128 + number)

    return _handled(end, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], NoReturn], *numbers: int) -> Iterator[None]:
    """Handles these signals, except those that the command was started to ignore."""
    usual = signal.SIG_DFL, signal.default_int_handler
    main = (
        threading.current_thread() is threading.main_thread()
    )  # other threads may not set handlers
    before = {n: signal.getsignal(n) for n in numbers if main and signal.getsignal(n) in usual}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def one_line(text: str) -> str:
    """The text with unprintable characters escaped, such as a line break in a file name."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(text: str) -> None:
    """Prints a message to standard error at once, after the program's name."""
    print(f"unlearn: {text}", file=sys.stderr, flush=True)  # noqa: T201 - printing is its job
