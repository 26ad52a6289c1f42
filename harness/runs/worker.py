"""Does one step, in this process or in one forked for it, and reports how it ended."""

from __future__ import annotations

import time
import traceback
from dataclasses import asdict, dataclass
from typing import Any

import torch

from harness.errors import UserError
from harness.records.store import CorruptionError, StoreError
from harness.runs.method_call import MethodError
from harness.runs.plan import Plan, Step
from harness.runs.steps import EditedError, ProtocolError, do_step
from harness.runs.workspace import Workspace
from harness.terminal import one_line

DONE, FAILED = "done", "failed"
UNWRITTEN, UNREADABLE = "unwritten", "unreadable"
"""Ends that may be the store's fault, which the pool finds out."""

LONGEST = 50_000
"""How many of the last characters of a traceback are kept."""

TERMINAL = {
    "BdbQuit": "a debugger needs a terminal, which this process lacks; use --workers 0",
    "EOFError": "input() needs a terminal, which this process lacks; use --workers 0",
}
"""Exception → what is added to its message, since a missing terminal causes it."""


@dataclass(frozen=True)
class Result:
    """How a step ended."""

    end: str
    """DONE, FAILED, UNWRITTEN or UNREADABLE."""
    seconds: float = 0.0
    text: str = ""
    """The failure in full: a traceback, or one line if it is the user's mistake."""
    reason: str = ""
    """The failure in one line; for a step that was done, how the model was changed."""
    cause: str = ""
    """The class of the exception behind a failure; empty if there was none."""
    mistake: bool = False
    """Whether the failure is the user's mistake."""
    size: int = 0
    """Bytes that could not be written."""

    @property
    def is_about_the_method(self) -> bool:
        """Whether the failure is the method's own, and so belongs in a record."""
        return self.cause != EditedError.__name__


def attempt(
    step: Step, workspace: Workspace, plan: Plan, most_passes: float, *, isolated: bool = False
) -> Result:
    """Does a step, and returns how it ended.

    Whatever a plugin raises, even SystemExit, fails only its step. KeyboardInterrupt in the
    command's own process is Ctrl-C, and is raised again.
    """
    start = time.perf_counter()
    try:
        changed = do_step(
            step,
            workspace,
            isolated=isolated,
            most_passes=most_passes,
            edited=lambda: plan.edited(step.run),
        )
    except CorruptionError as error:
        return Result(UNREADABLE, text=_traceback(), reason=brief(error))
    except StoreError as error:
        return Result(UNWRITTEN, text=str(error), reason=str(error), size=error.size)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not isolated:
            raise
        return _failed(error)
    return Result(DONE, seconds=time.perf_counter() - start, reason=changed)


def attempt_apart(
    step: Step, workspace: Workspace, plan: Plan, most_passes: float, threads: int
) -> dict[str, Any]:
    """Does a step in a process forked for it; returns the fields of its ``Result``."""
    workspace.store.close_inherited_locks()
    torch.set_num_threads(threads)
    return asdict(attempt(step, workspace, plan, most_passes, isolated=True))


def _failed(error: BaseException) -> Result:
    mistake = isinstance(error, UserError)
    if isinstance(error, MethodError | ProtocolError):
        text = brief(error)  # its traceback shows only the harness
    else:
        text = (str(error) or repr(error)) if mistake else _traceback()
    cause = type(error).__name__
    return Result(FAILED, text=text, reason=brief(error), cause=cause, mistake=mistake)


def _traceback() -> str:
    return traceback.format_exc()[-LONGEST:]


def brief(error: BaseException) -> str:
    """An exception in one printable line."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # a plugin's __str__
        lines = []
    name = type(error).__name__
    text = " ".join([*lines[:1], TERMINAL.get(name, "")]).strip() or "no message"
    return one_line(text if isinstance(error, UserError) else f"{name}: {text}")[:500]


def death(cause: str) -> Result:
    """The result of a step whose process died before the step was done."""
    text = f"{cause}; the same command tries this again"
    return Result(FAILED, text=text, reason=cause)
