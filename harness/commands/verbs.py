"""The words of ``unlearn``: which verb they call, with which arguments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from harness.commands import doctor, leaderboard, listing, measure, run, show, tune
from harness.errors import UserError, unknown
from harness.version import __version__

VERBS = (listing, run, tune, measure, leaderboard, show, doctor)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest right word."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.color = False  # Python 3.14 colours help in a file where FORCE_COLOR is set

    def error(self, message: str) -> NoReturn:
        """Raises UserError."""
        raise UserError(f"{message}; see `{self.prog} --help`")


def parse(words: Sequence[str]) -> argparse.Namespace | None:
    """The arguments, and under ``verb`` what to call with them; none after ``--help`` or so.

    Raises UserError for words that mean nothing.
    """
    _require_words(words)
    try:
        return _parsed(words)
    except SystemExit:  # argparse has printed what was asked for
        return None


def _require_words(words: Sequence[str]) -> None:
    """An empty word is a variable that a script forgot to set; it would mean the default."""
    for before, word in zip(["", *words], words, strict=False):
        option, given, value = word.partition("=")
        if not word or (option.startswith("--") and given and not value):
            place = f"after {before!r}" if before and not word else f"in {word!r}"
            raise UserError(f"an empty word {place if before or word else 'comes first'}")


def _parsed(words: Sequence[str]) -> argparse.Namespace:
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
