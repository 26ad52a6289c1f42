"""The command ``unlearn``: runs one verb and reports how it ended.

Only Python's own core is imported before ``main`` runs, so that it handles Ctrl-C from the start,
and so that ``python -m harness.cli`` can first drop the working directory from ``sys.path``.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence

STOPPED = "unlearn: stopped; run the same command again to continue"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0; 1 if a run or check failed; 2 for a user's mistake.

    If a signal stopped the command, it is 128 + the signal's number: 130 for Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        from harness.terminal import steady  # noqa: PLC0415

        with steady() as lost:
            status = _outcome(words)
            if not status and lost():
                print(f"unlearn: cannot write to standard output: {lost()}", file=sys.stderr)
                status = 2
    except KeyboardInterrupt:  # just before or after the verb
        print(STOPPED, file=sys.stderr)
        return 130
    return status


def _outcome(words: Sequence[str]) -> int:
    """Runs the verb and returns its exit status; reports a user's mistake or a signal."""
    from harness.errors import UserError  # noqa: PLC0415
    from harness.terminal import exit_at_once, one_line, stoppable  # noqa: PLC0415

    try:
        with exit_at_once(STOPPED):  # a library may swallow an exception while it is imported
            call = _call(words)
        with stoppable():
            return call()
    except UserError as error:
        print(f"unlearn: {one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(STOPPED, file=sys.stderr)
        return 128 + getattr(stop, "signal", 2)


def _call(words: Sequence[str]) -> Callable[[], int]:
    """A function that runs the verb; raises UserError if the words cannot be parsed."""
    from harness.commands.parsing import parse  # noqa: PLC0415

    arguments = parse(words)
    if arguments is None:
        return lambda: 0
    verb = importlib.import_module(f"harness.commands.{arguments.verb}")
    return lambda: int(verb.execute(arguments))


def _forget_the_working_directory() -> None:
    """Removes the entry that ``-m`` puts first; a ``random.py`` there would shadow Python's own.

    The script ``unlearn`` never has this entry.
    """
    if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109
        del sys.path[0]


if __name__ == "__main__":
    _forget_the_working_directory()
    sys.exit(main())
