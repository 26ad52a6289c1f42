"""The command line ``unlearn``: parses, calls one verb, prints; decides nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from harness.commands import doctor, leaderboard, listing, measure, run, show, tune
from harness.errors import UserError, unknown
from harness.version import __version__

VERBS = (listing, run, tune, measure, leaderboard, show, doctor)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest right word."""

    def error(self, message: str) -> NoReturn:
        """Raises UserError."""
        raise UserError(f"{message}; see `{self.prog} --help`")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0; 1 where a run or check failed; 2 for a user's mistake; 130 for Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = _parse(words)
        status: int = arguments.verb(arguments)
    except UserError as error:
        print(f"unlearn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("unlearn: stopped; the same command goes on where this one was", file=sys.stderr)
        return 130
    return status


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        "unlearn", description="A benchmark for machine unlearning.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(metavar="VERB", required=True, parser_class=Parser)
    known = {verb.NAME: verb for verb in VERBS}
    options = {}
    for name, verb in known.items():
        sub = verbs.add_parser(name, help=verb.HELP, description=verb.HELP, allow_abbrev=False)
        verb.configure(sub)
        sub.set_defaults(verb=verb.execute)
        options[name] = [word for action in sub._actions for word in action.option_strings]
    if words and words[0] not in known and words[0] not in parser._option_string_actions:
        kind = "option" if words[0].startswith("-") else "verb"
        raise unknown(kind, words[0], parser._option_string_actions if kind == "option" else known)
    arguments, rest = parser.parse_known_args(words)
    if rest:
        odd = rest[0].partition("=")[0]
        if odd.startswith("-"):
            raise unknown(f"option of `unlearn {words[0]}`", odd, options[words[0]])
        raise UserError(f"`unlearn {words[0]}` takes no further word here; got {odd!r}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
