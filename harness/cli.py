"""The command line ``unlearn``: starts up, calls one verb, says how it ended; decides nothing.

Nothing but Python's own core is imported before ``main`` runs, so that it hears Ctrl-C from the
start, and so that ``python -m harness.cli`` can first forget the working directory.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

STOPPED = "unlearn: stopped; the same command goes on where this one was"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0; 1 where a run or check failed; 2 for a user's mistake.

    128 + its number for the signal that stopped the command: 130 for Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        from harness.terminal import at_once, steady, stoppable  # noqa: PLC0415

        with steady() as lost:
            with at_once(STOPPED):  # a library that is being imported may swallow an exception
                importlib.import_module("harness.commands.verbs")
            with stoppable():
                status = _outcome(words)
            if not status and lost():
                print(f"unlearn: cannot write to standard output: {lost()}", file=sys.stderr)
                status = 2
    except KeyboardInterrupt:  # in the moments before and after the verb
        print(STOPPED, file=sys.stderr)
        return 130
    return status


def _outcome(words: Sequence[str]) -> int:
    """The verb's status, or that of what ended it, which is told."""
    from harness.commands.verbs import parse  # noqa: PLC0415
    from harness.errors import UserError  # noqa: PLC0415
    from harness.terminal import one_line  # noqa: PLC0415

    try:
        arguments = parse(words)
        return 0 if arguments is None else int(arguments.verb(arguments))
    except UserError as error:
        print(f"unlearn: {one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(STOPPED, file=sys.stderr)
        return 128 + getattr(stop, "signal", 2)


def _forget_the_working_directory() -> None:
    """Removes what ``-m`` put first: a ``random.py`` there would be taken for Python's own.

    The script ``unlearn`` never has it.
    """
    if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109
        del sys.path[0]


if __name__ == "__main__":
    _forget_the_working_directory()
    sys.exit(main())
