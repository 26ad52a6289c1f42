"""The forget rules: which rows of the train set a scenario forgets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from harness.specs.checks import (
    LARGEST_INT,
    PROPER_SHARE,
    Whole,
    number_of,
    require_own_class,
    settle,
    shown,
)

RANDOM, CLASS, PARTIAL_CLASS, GIVEN = "random", "class", "partial-class", "given"
KINDS = frozenset({RANDOM, CLASS, PARTIAL_CLASS, GIVEN})
"""The kinds of forget set; a method names those it is defined for."""

LABEL = Whole(0)


@dataclass(frozen=True)
class Rows:
    """Row numbers of any kind of sequence, each once."""

    def __str__(self) -> str:
        return "row numbers, whole and from 0, each once"

    def take(self, value: Any) -> tuple[int, ...]:
        """As a tuple in ascending order."""
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
            raise TypeError
        rows = value.tolist() if hasattr(value, "tolist") else [*value]
        if not isinstance(rows, list) or not rows:
            raise ValueError("there is none")
        rows = [row if type(row) is int else self._row(row) for row in rows]
        if min(rows) < 0 or max(rows) > LARGEST_INT:
            raise ValueError(f"they run from {min(rows)} to {max(rows)}")
        if twice := len(rows) - len({*rows}):
            often = next(row for row, n in Counter(rows).items() if n > 1)
            raise ValueError(f"{twice} of {len(rows)} are repeated, such as {often}")
        return tuple(sorted(rows))

    def _row(self, value: Any) -> int:
        try:
            number = number_of(value)
        except TypeError:
            hint = "; of a mask, give the rows: mask.nonzero()" * (value is True or value is False)
            raise TypeError(f"{shown(value)} is no row number{hint}") from None
        if not isinstance(number, int):
            raise TypeError(f"{shown(value)} is not whole")
        return number


def percent(share: float) -> str:
    """A share as a reader is told it: ``10%``, ``0.5%``, ``33.3%``.

    At most four digits where they are exact, else three; but more where these would make a share
    of nothing or of all of one that is neither.
    """
    exact = (100 * Decimal(str(float(share)))).normalize()
    if len(exact.as_tuple().digits) <= 4:
        return f"{exact:f}%"
    rounded = (Decimal(f"{exact:.{digits}e}").normalize() for digits in range(2, 17))
    shown = next((each for each in rounded if (each < 100) == (exact < 100)), exact)
    return f"{shown:f}%"


@dataclass(frozen=True)
class RandomFraction:
    """Forget a share of the train set, drawn uniformly and anew for each replicate."""

    fraction: float
    kind: ClassVar[str] = RANDOM

    def __post_init__(self) -> None:
        require_own_class(self, RandomFraction)
        settle(self, "RandomFraction", fraction=PROPER_SHARE)

    def __str__(self) -> str:
        return f"random {percent(self.fraction)}"


@dataclass(frozen=True)
class WholeClass:
    """Forget every image that is recorded under one label."""

    label: int
    kind: ClassVar[str] = CLASS

    def __post_init__(self) -> None:
        require_own_class(self, WholeClass)
        settle(self, "WholeClass", label=LABEL)

    def __str__(self) -> str:
        return f"class {self.label}"


@dataclass(frozen=True)
class ClassFraction:
    """Forget a share of one class, drawn uniformly and anew for each replicate."""

    label: int
    fraction: float
    kind: ClassVar[str] = PARTIAL_CLASS

    def __post_init__(self) -> None:
        require_own_class(self, ClassFraction)
        settle(self, "ClassFraction", label=LABEL, fraction=PROPER_SHARE)

    def __str__(self) -> str:
        return f"{percent(self.fraction)} of class {self.label}"


@dataclass(frozen=True)
class GivenRows:
    """Forget the given rows of the train set; any sequence of whole numbers, each once."""

    rows: tuple[int, ...]
    """Ascending, whatever the order in which they were given."""
    kind: ClassVar[str] = GIVEN

    def __post_init__(self) -> None:
        require_own_class(self, GivenRows)
        settle(self, "GivenRows", rows=Rows())

    def __str__(self) -> str:
        return f"{len(self.rows)} given rows"


ForgetRule = RandomFraction | WholeClass | ClassFraction | GivenRows
RULES: tuple[type[ForgetRule], ...] = (RandomFraction, WholeClass, ClassFraction, GivenRows)


def class_name(rule: ForgetRule, classes: Sequence[str]) -> str:
    """The name of the class that a rule is about; empty where it is about none, or one unnamed."""
    label = rule.label if isinstance(rule, WholeClass | ClassFraction) else len(classes)
    return classes[label] if label < len(classes) else ""
