"""A plugin's forget rule: what it must satisfy, and how a record represents it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from harness.specs.checks import OneOf, Text, instance_of, number_of, settle, shown
from harness.specs.forgetting import BUILT_IN, KINDS, ForgetRule

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SAYS = "says"
"""The key under which a record stores the description of a plugin's rule."""

RESERVED = frozenset({"is", "kind", SAYS})
"""The keys that a record stores for a plugin's rule besides its settings and source."""


@dataclass(frozen=True)
class RecordedRule(ForgetRule):
    """A plugin's rule as read from a record, whether or not the plugin is installed.

    It can be shown and compared, but cannot select rows; ``forget_rules.with_plugin_rule``
    replaces it with the plugin's own rule.
    """

    name: str
    """The name of the rule's class."""
    kind: str  # type: ignore[misc]  # other rules have it as a ClassVar
    says: str
    """The rule's description, with class names of the data set; not part of a run's identity."""
    settings: str
    """The rule's settings as a JSON object with sorted keys."""

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
        """The recorded form of a plugin's rule; ``says`` overrides its description."""
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
    def read(cls, recorded: Mapping[str, Any]) -> RecordedRule:
        """The rule from its JSON object; raises KeyError, TypeError or ValueError if invalid."""
        own = {key: recorded[key] for key in recorded if key not in (*RESERVED, "source")}
        return cls(
            name=recorded["is"],
            kind=recorded["kind"],
            says=recorded[SAYS],
            settings=json.dumps(own, sort_keys=True),
            source=recorded["source"],
        )

    def asked(self) -> dict[str, Any]:
        """The rule's part of a run's identity: its class, settings and source."""
        return {"is": self.name, **json.loads(self.settings), "source": self.source}

    def select(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> Tensor:
        """Raises ValueError: the rule's code is not available."""
        raise ValueError("the rule is known only from a record; its plugin is not loaded")

    def describe(self, classes: Sequence[str] = ()) -> str:
        """The plugin's own description, escaped for one cell of a Markdown table."""
        return re.sub(r"(?<!\\)\|", r"\|", " ".join(self.says.split()))

    def substitute(self, labels: Tensor) -> ForgetRule:
        """Raises ValueError: the rule's code is not available."""
        raise ValueError("the rule is known only from a record; its plugin is not loaded")


def is_recorded(rule: Mapping[str, Any]) -> bool:
    """Whether a record's object has every key of a plugin's rule."""
    return rule.get("kind") in KINDS and all(isinstance(rule.get(n), str) for n in (SAYS, "source"))


@dataclass(frozen=True)
class Rule:
    """A forget rule: a built-in one, or a plugin's that a record can represent."""

    def __str__(self) -> str:
        return "a forget rule, such as RandomFraction(0.1)"

    def take(self, value: Any) -> ForgetRule:
        """The rule, with numbers of NumPy and torch converted to Python numbers."""
        if isinstance(value, type):
            raise TypeError(f"write {instance_of(value)}")
        if not isinstance(value, ForgetRule):
            raise TypeError
        if isinstance(value, (*BUILT_IN, RecordedRule)):
            return value
        _check_class(type(value))
        rule = copy(value)
        for each in fields(value):
            object.__setattr__(rule, each.name, _setting(each.name, getattr(value, each.name)))
        _check_description(rule)
        return value if rule == value and repr(rule) == repr(value) else rule


def _check_description(rule: ForgetRule) -> None:
    text = rule.describe()
    if not isinstance(text, str) or not text:
        what = f"{type(rule).__name__}.describe()"
        raise TypeError(f"{what} returned {shown(text)}; expected text")
    Text().take(text)


def _check_class(cls: type[ForgetRule]) -> None:
    """Raises TypeError or ValueError for a class whose rules no record can represent."""
    parameters = vars(cls).get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        raise TypeError(f"class {cls.__name__} must itself be a frozen dataclass")
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
            f"its {name} is {shown(value)}; expected finite numbers, strings, booleans, None, or "
            f"tuples of these"
        ) from None
    return number
