"""Parses a command line; a mistake is an error of one line that suggests the closest match."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from harness.commands.options import Argument
from harness.commands.verbs import HELP, VERBS, VERSION
from harness.errors import UserError, unknown


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def __init__(self, program: str, description: str) -> None:
        super().__init__(program, description=description, allow_abbrev=False, add_help=False)
        self.color = False  # Python 3.14 colours help in a file where FORCE_COLOR is set

    def error(self, message: str) -> NoReturn:
        """Raises UserError."""
        raise UserError(f"{message}; see `{self.prog} --help`")


def parse(words: Sequence[str]) -> argparse.Namespace | None:
    """The arguments, with the verb's name as ``verb``; None if help or the version was printed.

    Raises UserError for an unknown verb, option or argument.
    """
    _reject_empty_words(words)
    try:
        if not words or words[0] not in VERBS:
            _parse_without_verb(words)
            return None
        return _parse_verb(words[0], words[1:])
    except SystemExit:  # argparse has printed what was asked for
        return None


def _reject_empty_words(words: Sequence[str]) -> None:
    """Rejects an empty word, such as a variable that a script forgot to set."""
    for before, word in zip(["", *words], words, strict=False):
        option, given, value = word.partition("=")
        if not word or (option.startswith("--") and given and not value):
            place = f"after {before!r}" if before and not word else f"in {word!r}"
            raise UserError(f"an empty word {place if before or word else 'comes first'}")


def _parse_without_verb(words: Sequence[str]) -> None:
    parser = Parser("unlearn", "A benchmark for machine unlearning.")
    parser.epilog = "`unlearn VERB --help` explains what a verb accepts."
    verbs = parser.add_subparsers(
        title="verbs", metavar="VERB", parser_class=argparse.ArgumentParser
    )
    for name, verb in VERBS.items():
        verbs.add_parser(name, help=verb.summary)
    _add(parser, "options", [HELP, VERSION])
    if not words:
        raise UserError(f"missing verb: expected one of {', '.join(VERBS)}; see `unlearn --help`")
    word = words[0].partition("=")[0]
    if word in _options([HELP, VERSION]):
        parser.parse_args(words[:1])
    if not word.startswith("-"):
        raise unknown("verb", word, VERBS)
    if any(word in _options(verb.arguments()) for verb in VERBS.values()):
        raise UserError(f"{word!r} must come after the verb, as in `unlearn run {word} …`")
    raise unknown("option", word, _options([HELP, VERSION]))


def _parse_verb(name: str, words: Sequence[str]) -> argparse.Namespace:
    verb = VERBS[name]
    parser = Parser(f"unlearn {name}", verb.summary)
    for heading, group in verb.groups.items():
        _add(parser, heading, group)
    _add(parser, "help", [HELP])
    arguments, rest = parser.parse_known_args(words)
    if not rest:
        return argparse.Namespace(verb=name, **vars(arguments))
    word = rest[0].partition("=")[0]
    if word.startswith("-"):
        raise unknown(f"option of `unlearn {name}`", word, _options(verb.arguments()))
    raise UserError(f"unexpected argument {word!r}; see `{parser.prog} --help`")


def _add(parser: Parser, heading: str, group: Sequence[Argument]) -> None:
    adder: Any = parser.add_argument_group(heading)
    for each in group:
        names = ["-h", each.name] if each is HELP else [each.name]
        adder.add_argument(*names, help=each.explanation, **each.settings)


def _options(arguments: Iterable[Argument]) -> list[str]:
    """The names of the options among them."""
    return ["-h", *(each.name for each in arguments if each.is_option)]
