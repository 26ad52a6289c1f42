"""Field checks: each spec validates its fields and converts them to Python types when created."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, Protocol

LARGEST_INT = 2**63 - 1
LARGEST_FLOAT = 1e300
"""Larger numbers are rejected: no reader of records accepts them."""


class Kind(Protocol):
    """The values that a field accepts; ``str()`` completes the phrase "the field must be"."""

    def take(self, value: Any) -> Any:
        """The value in the form that is stored; raises ValueError or TypeError if it is invalid."""


def settle(spec: object, what: str, **kinds: Kind) -> None:
    """Checks each named field of a frozen dataclass and stores its converted value.

    Raises ValueError or TypeError that names the spec, the field, the value found and the value
    expected.
    """
    for name, kind in kinds.items():
        value = getattr(spec, name)
        try:
            taken = kind.take(value)
        except (ValueError, TypeError, OverflowError) as error:
            refusal = TypeError if isinstance(error, TypeError) else ValueError
            detail = f" ({error})" if str(error) else ""
            raise refusal(f"{what}: {name} must be {kind}; got {shown(value)}{detail}") from None
        if taken is not value:
            object.__setattr__(spec, name, taken)


def require_own_class(spec: object, kind: type[Any]) -> None:
    """Raises TypeError for a subclass, which a record could not distinguish from its parent."""
    if type(spec) is not kind:
        raise TypeError(
            f"{type(spec).__name__} is a subclass of {kind.__name__}, which no record can "
            f"represent; use {kind.__name__} itself"
        )


def with_article(noun: str) -> str:
    """The noun after "a", or after "an" before a vowel."""
    return f"{'an' if noun[:1] in 'AEIOUaeiou' else 'a'} {noun}"


def instance_of(cls: type[Any]) -> str:
    """How to write an instance of the class: ``R()``, or ``R(…)`` if it needs arguments."""
    given = fields(cls) if is_dataclass(cls) else ()
    needs = any(each.init and each.default is each.default_factory is MISSING for each in given)
    return f"{cls.__name__}({'…' if needs else ''})"


def shown(value: Any) -> str:
    """A short form of a value for an error, with its type if the text alone is ambiguous."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    text = " ".join(repr(value).split())
    text = text if len(text) <= 60 else f"{text[:57]}…"
    if value is None or isinstance(value, int | float | str):
        return f"{text} (text)" if isinstance(value, str) else text
    return f"{text} ({type(value).__name__})"


def number_of(value: Any) -> int | float:
    """Converts a number of Python, NumPy or torch (0-d) to a Python number.

    Raises TypeError for anything else, such as text, a boolean or an array.
    """
    if type(value) is int or type(value) is float:
        return value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return int(value) if isinstance(value, int) else float(value)


@dataclass(frozen=True)
class Whole:
    """A whole number, given as an integer: 1.0 is rejected."""

    least: int = 0
    most: int = LARGEST_INT

    def __str__(self) -> str:
        end = "" if self.most == LARGEST_INT else f" and at most {self.most}"
        return f"a whole number of at least {self.least}{end}"

    def take(self, value: Any) -> int:
        """The value as an int."""
        number = number_of(value)
        if not isinstance(number, int):
            raise TypeError
        if not self.least <= number <= self.most:
            raise ValueError
        return number


@dataclass(frozen=True)
class Real:
    """A finite number between two bounds, each inclusive or exclusive."""

    low: float = -LARGEST_FLOAT
    high: float = LARGEST_FLOAT
    above: bool = False
    """Whether ``low`` itself is excluded."""
    below: bool = False
    """Whether ``high`` itself is excluded."""
    whole_stays: bool = False
    """Whether an int stays an int; otherwise 1 becomes 1.0, so that both give the same identity."""

    def __str__(self) -> str:
        if self.high < LARGEST_FLOAT:
            left = "(" if self.above else "["
            right = ")" if self.below else "]"
            return f"a number in {left}{self.low:g}, {self.high:g}{right}"
        if self.low == -LARGEST_FLOAT:
            return "a finite number"
        return f"a finite number {'above' if self.above else 'of at least'} {self.low:g}"

    def take(self, value: Any) -> int | float:
        """The value as a float, or as an int if ``whole_stays``."""
        number = number_of(value)
        number = number if self.whole_stays and isinstance(number, int) else number + 0.0
        if not (self.low < number if self.above else self.low <= number):
            raise ValueError
        if not (number < self.high if self.below else number <= self.high):
            raise ValueError
        return number


@dataclass(frozen=True)
class Flag:
    """True or False."""

    def __str__(self) -> str:
        return "True or False"

    def take(self, value: Any) -> bool:
        """The value as a bool."""
        if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
            value = value.item()
        if not isinstance(value, bool):
            raise TypeError
        return value


@dataclass(frozen=True)
class Text:
    """Text that UTF-8 can encode."""

    empty: bool = False
    """Whether the text may be empty."""

    def __str__(self) -> str:
        return "text" if self.empty else "non-empty text"

    def take(self, value: Any) -> str:
        """The value as a str."""
        if not isinstance(value, str):
            raise TypeError
        if not (value or self.empty):
            raise ValueError
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("UTF-8 cannot encode it") from None
        return str(value)


@dataclass(frozen=True)
class OneOf:
    """One of several words."""

    choices: tuple[str, ...]

    def __str__(self) -> str:
        return f"one of {', '.join(map(repr, self.choices))}"

    def take(self, value: Any) -> str:
        """The value as a str."""
        if not isinstance(value, str):
            raise TypeError
        if value not in self.choices:
            raise ValueError
        return str(value)


@dataclass(frozen=True)
class Exactly:
    """An object of exactly one of these classes; subclasses are rejected."""

    kinds: tuple[type[Any], ...]

    def __str__(self) -> str:
        *most, last = [kind.__name__ for kind in self.kinds]
        return " or ".join(filter(None, [", ".join(map(with_article, most)), with_article(last)]))

    def take(self, value: Any) -> Any:
        """The object itself."""
        if type(value) not in self.kinds:
            raise TypeError
        return value


@dataclass(frozen=True)
class Function:
    """A callable."""

    optional: bool = False

    def __str__(self) -> str:
        return "a function or None" if self.optional else "a function"

    def take(self, value: Any) -> Any:
        """The function itself."""
        if not callable(value) and not (self.optional and value is None):
            raise TypeError
        return value


@dataclass(frozen=True)
class Several:
    """A list, tuple or set of values of one kind; a lone string is rejected."""

    each: Kind
    what: str
    least: int = 0
    distinct: bool = False

    def __str__(self) -> str:
        return f"a tuple of {self.what}" + (f", {self.least} or more" if self.least else "")

    def take(self, value: Any) -> tuple[Any, ...]:
        """The values as a tuple."""
        if isinstance(value, str | Mapping) or not isinstance(value, Collection):
            raise TypeError
        taken = tuple(self._taken(item) for item in value)
        if len(taken) < self.least:
            raise ValueError(f"it has {len(taken)}")
        if self.distinct and len({*taken}) < len(taken):
            twice = next(item for item in taken if taken.count(item) > 1)
            raise ValueError(f"{twice!r} occurs twice")
        return taken

    def _taken(self, item: Any) -> Any:
        try:
            return self.each.take(item)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{shown(item)} is not {self.each}") from None


@dataclass(frozen=True)
class OrNone:
    """A value that may be None."""

    kind: Kind

    def __str__(self) -> str:
        return f"{self.kind} or None"

    def take(self, value: Any) -> Any:
        """None, or the value as ``kind`` converts it."""
        return None if value is None else self.kind.take(value)


SHARE = Real(0, 1)
PROPER_SHARE = Real(0, 1, above=True, below=True)
POSITIVE = Real(0, above=True)
NOT_NEGATIVE = Real(0)
