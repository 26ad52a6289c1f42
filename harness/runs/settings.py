"""Applies ``--set METHOD.FIELD=VALUE`` to a method's config."""

from __future__ import annotations

import dataclasses
import math
import re
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.errors import UserError, unknown
from harness.specs.checks import LARGEST_FLOAT, LARGEST_INT

REFUSALS = (ValueError, TypeError, NameError, AssertionError)
"""Raised for text that is not of a field's type, and by a config for a value."""


class Assignment(NamedTuple):
    """One ``--set``, taken apart."""

    method: str
    field: str
    text: str

    @classmethod
    def parse(cls, words: str) -> Assignment:
        """Splits METHOD.FIELD=VALUE; raises UserError for any other form."""
        found = re.fullmatch(r"([^=]+)\.([^.=]+)=(.*)", words, re.DOTALL)
        if not found:
            raise UserError(
                f"--set {words!r}: expected METHOD.FIELD=VALUE, as in some-method.lr=0.05"
            )
        return cls(*found.groups())

    def __str__(self) -> str:
        return f"{self.method}.{self.field}={self.text}"


def configured(method: str, config: Any, field: str, text: str) -> Any:
    """The config with one field set from text; see ``all_configured``."""
    return all_configured(config, [Assignment(method, field, text)])


def all_configured(config: Any, assignments: Sequence[Assignment]) -> Any:
    """The config with fields set from text, which is converted to the fields' types.

    They are set together, so that those that need each other may come in any order; of two for one
    field the last counts.

    Raises UserError for an unknown field, for text that cannot be converted, and for values that
    the config rejects.
    """
    values = {each.field: _value(config, each) for each in assignments}
    # 1.0 instead of 1 would change the run's id
    changed = {name: new for name, new in values.items() if new != getattr(config, name)}
    try:
        return dataclasses.replace(config, **changed) if changed else config
    except REFUSALS as error:
        last = {each.field: each for each in assignments}
        named = " ".join(f"--set {last[name]}" for name in changed)
        reason = textwrap.shorten(str(error), 200) or "its config rejects it"
        raise UserError(f"{named}: {reason}") from None


def _value(config: Any, asked: Assignment) -> Any:
    names = [f.name for f in dataclasses.fields(config)]
    if asked.field not in names:
        known = unknown("setting", asked.field, names)
        raise UserError(f"--set {asked.method}.{asked.field}: {known}")
    try:
        return _convert(asked.text, typing.get_type_hints(type(config))[asked.field])
    except REFUSALS as error:
        raise UserError(f"--set {asked}: {textwrap.shorten(str(error), 200)}") from None


def _convert(text: str, hint: Any) -> Any:
    if typing.get_origin(hint) is typing.Literal:
        return _one_of(text, typing.get_args(hint))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        if text.lower() == "none" and len(kinds) < len(typing.get_args(hint)):
            return None
        if len(kinds) == 1:
            return _convert(text, kinds[0])
    if hint is bool:
        return _one_of(text.lower(), ("true", "false")) == "true"
    if hint is str:
        text.encode()  # raises ValueError for text that no record can contain
        return text
    if hint in (int, float):
        return _number(text, hint)
    raise ValueError(f"a field of type {hint} cannot be set on the command line")


def _one_of(text: str, choices: Iterable[Any]) -> Any:
    by_text: Mapping[str, Any] = {str(choice): choice for choice in choices}
    if text not in by_text:
        raise ValueError(f"expected one of {', '.join(by_text)}; got {text!r}")
    return by_text[text]


def _number(text: str, hint: type[int] | type[float]) -> int | float:
    try:
        value = hint(text)
    except ValueError:
        kind = "a whole number" if hint is int else "a number"
        raise ValueError(f"expected {kind}; got {text!r}") from None
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number; got {text!r}")
    if abs(value) > (LARGEST_INT if hint is int else LARGEST_FLOAT):
        raise ValueError(f"no record can contain a number as large as {text}")
    return value
