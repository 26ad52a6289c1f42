"""A plugin's forget rule: what it must be, and what a record tells of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from harness.specs.checks import OneOf, Text, number_of, settle, shown
from harness.specs.forgetting import BUILT_IN, KINDS, ForgetRule

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SAYS = "says"
"""Where a record holds the description of a plugin's rule."""

RESERVED = frozenset({"is", "kind", SAYS})
"""What a record says of a plugin's rule besides its settings and its source."""


@dataclass(frozen=True)
class RecordedRule(ForgetRule):
    """A plugin's rule as a record tells of it, whether or not the plugin is installed.

    It can be shown and compared. It cannot select rows: ``plugins.rules.revived`` finds the rule.
    """

    name: str
    """Of its class."""
    kind: str  # type: ignore[misc]  # of other rules the class knows it
    says: str
    """Its description, with the names of the data set's classes; no part of a run's name."""
    settings: str
    """A JSON object with sorted keys."""

    def __post_init__(self) -> None:
        settle(
            self,
            f"forget rule {self.name!r}",
            name=Text(),
            kind=OneOf(tuple(sorted(KINDS))),
            says=Text(),
            source=Text(),
        )

    @classmethod
    def of(cls, rule: ForgetRule, says: str = "") -> RecordedRule:
        """What a record tells of a plugin's rule; ``says`` is its description if given."""
        settings = {each.name: getattr(rule, each.name) for each in fields(rule)}
        del settings["source"]
        return cls(
            name=type(rule).__name__,
            kind=rule.kind,
            says=says or rule.describe(),
            settings=json.dumps(settings, sort_keys=True),
            source=rule.source,
        )

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> RecordedRule:
        """The rule of a record's object; raises KeyError, TypeError or ValueError."""
        own = {name: told[name] for name in told if name not in (*RESERVED, "source")}
        return cls(
            name=told["is"],
            kind=told["kind"],
            says=told[SAYS],
            settings=json.dumps(own, sort_keys=True),
            source=told["source"],
        )

    def asked(self) -> dict[str, Any]:
        """What names a run that depends on the rule: its class, settings and source."""
        return {"is": self.name, **json.loads(self.settings), "source": self.source}

    def select(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> Tensor:
        """Raises ValueError."""
        raise ValueError("it is known from a record alone")

    def describe(self, classes: Sequence[str] = ()) -> str:
        """As the plugin described it, fit for one cell of a Markdown table."""
        return re.sub(r"(?<!\\)\|", r"\|", " ".join(self.says.split()))

    def substitute(self, labels: Tensor) -> ForgetRule:
        """Raises ValueError."""
        raise ValueError("it is known from a record alone")


def is_recorded(told: Mapping[str, Any]) -> bool:
    """Whether a record's object has all that is told of a plugin's rule."""
    return told.get("kind") in KINDS and all(isinstance(told.get(n), str) for n in (SAYS, "source"))


@dataclass(frozen=True)
class Rule:
    """A forget rule: one of the harness's own, or a plugin's that a record can hold."""

    def __str__(self) -> str:
        return "a forget rule, such as RandomFraction(0.1)"

    def take(self, value: Any) -> ForgetRule:
        """The rule, with Python's numbers in place of NumPy's and torch's."""
        if not isinstance(value, ForgetRule):
            raise TypeError
        if isinstance(value, (*BUILT_IN, RecordedRule)):
            return value
        _check_class(type(value))
        rule = copy(value)
        for each in fields(value):
            object.__setattr__(rule, each.name, _setting(each.name, getattr(value, each.name)))
        Text().take(rule.describe())
        return value if rule == value and repr(rule) == repr(value) else rule


def _check_class(cls: type[ForgetRule]) -> None:
    """Raises TypeError or ValueError for a class whose rules no record could hold."""
    parameters = vars(cls).get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        raise TypeError(f"class {cls.__name__} must be a frozen dataclass itself")
    if cls.__name__ in (RecordedRule.__name__, *(rule.__name__ for rule in BUILT_IN)):
        raise ValueError(f"{cls.__name__} is the name of a built-in rule; rename the class")
    if odd := sorted(RESERVED & {each.name for each in fields(cls)}):
        raise ValueError(f"{odd[0]!r} cannot be a setting; annotate it as a ClassVar, or rename it")
    if getattr(cls, "kind", None) not in KINDS:
        found = shown(getattr(cls, "kind", None))
        raise ValueError(f"its kind must be one of {', '.join(sorted(KINDS))}; got {found}")


def _setting(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return Text(empty=True).take(value)
    if isinstance(value, tuple):
        return tuple(_setting(name, each) for each in value)
    try:
        number = number_of(value)
        json.dumps(number, allow_nan=False)
    except (TypeError, ValueError):
        raise TypeError(
            f"its {name} is {shown(value)}; expected finite numbers, text, truth values, None, or "
            f"tuples of these"
        ) from None
    return number
