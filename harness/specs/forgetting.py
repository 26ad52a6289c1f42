"""The forget rules: which rows of the train set a scenario forgets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from harness.specs.checks import (
    LARGEST_INT,
    PROPER_SHARE,
    Whole,
    number_of,
    require_own_class,
    settle,
    shown,
)
from harness.specs.names import code

if TYPE_CHECKING:
    import torch
    from torch import Tensor

RANDOM, CLASS, PARTIAL_CLASS, GIVEN = "random", "class", "partial-class", "given"
KINDS = frozenset({RANDOM, CLASS, PARTIAL_CLASS, GIVEN})
"""The kinds of forget set; each method lists those it is defined for."""

LABEL = Whole(0)


@dataclass(frozen=True)
class Rows:
    """Distinct row numbers, given as any kind of sequence."""

    def __str__(self) -> str:
        return "distinct row numbers, whole and counted from 0"

    def take(self, value: Any) -> tuple[int, ...]:
        """The rows as a tuple in ascending order."""
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
            raise TypeError
        rows = value.tolist() if hasattr(value, "tolist") else [*value]
        if not isinstance(rows, list) or not rows:
            raise ValueError("no rows were given")
        rows = [row if type(row) is int else self._row(row) for row in rows]
        if min(rows) < 0 or max(rows) > LARGEST_INT:
            raise ValueError(f"the rows run from {min(rows)} to {max(rows)}")
        if twice := len(rows) - len({*rows}):
            often = next(row for row, n in Counter(rows).items() if n > 1)
            raise ValueError(f"{twice} of {len(rows)} rows are repeats, such as {often}")
        return tuple(sorted(rows))

    def _row(self, value: Any) -> int:
        try:
            number = number_of(value)
        except TypeError:
            hint = "; for a mask, give its rows: mask.nonzero()" * (value is True or value is False)
            raise TypeError(f"{shown(value)} is not a row number{hint}") from None
        if not isinstance(number, int):
            raise TypeError(f"{shown(value)} is not a whole number")
        return number


def percent(share: float) -> str:
    """A share as pages print it: ``10%``, ``0.5%``, ``33.3%``.

    A share is printed exactly if four digits suffice, else rounded to three. It gets more digits if
    rounding would turn it into 0% or 100%.
    """
    exact = (100 * Decimal(str(float(share)))).normalize()
    if len(exact.as_tuple().digits) <= 4:
        return f"{exact:f}%"
    rounded = (Decimal(f"{exact:.{digits}e}").normalize() for digits in range(2, 17))
    shown = next((each for each in rounded if (each < 100) == (exact < 100)), exact)
    return f"{shown:f}%"


@dataclass(frozen=True)
class ForgetRule(ABC):
    """Selects the rows to forget: derive a frozen dataclass with one field per setting.

    Settings are numbers, strings, booleans, None, or tuples of these: records must store them.
    """

    source: str = field(default="", kw_only=True, repr=False, metadata={"later": True})
    """The source hash of a plugin's rule, filled in by the harness; empty for a built-in rule."""

    kind: ClassVar[str]
    """One of ``KINDS``; each method lists those it is defined for."""

    @abstractmethod
    def select(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> Tensor:
        """The rows to forget: at least one of ``members``, without repeats, int64.

        ``labels (n,)`` are the labels of the whole train set. ``members (m,)`` are the rows that
        may be forgotten: all rows except those held out. Use no randomness but the generator's.
        Raises ValueError if this data set has no such rows.
        """

    @abstractmethod
    def describe(self, classes: Sequence[str] = ()) -> str:
        """What is forgotten, to follow the word "forget": ``a random 10%``, ``class 3 (`cat`)``.

        ``classes`` are the class names of the data set, or empty if there are none or they are
        unknown.
        """

    @abstractmethod
    def substitute(self, labels: Tensor) -> ForgetRule:
        """The rule that tuning uses instead, so that no reported forget set is tuned on.

        ``labels (n,)`` are the labels of the train set. A rule that draws new rows for each
        replicate may return itself. Raises ValueError if there is no substitute.
        """

    def class_name(self, classes: Sequence[str]) -> str:
        """The name of the class that a built-in rule forgets; empty if it has none."""
        return ""

    def named(self, class_name: str) -> str:
        """The description, if only the name of the forgotten class is known."""
        return self.describe()


def draw_share(rows: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A uniform draw of this share of the rows, in ascending order; all rows if the share is 1."""
    if share >= 1:
        return rows
    import torch  # noqa: PLC0415 - pages read rules without it

    order = torch.randperm(len(rows), generator=generator)
    return rows[order[: round(share * len(rows))]].sort().values


@dataclass(frozen=True)
class RandomFraction(ForgetRule):
    """Forget a share of the train set, drawn uniformly for each replicate."""

    fraction: float
    kind: ClassVar[str] = RANDOM

    def __post_init__(self) -> None:
        require_own_class(self, RandomFraction)
        settle(self, "RandomFraction", fraction=PROPER_SHARE)

    def select(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> Tensor:
        """A uniform draw from the members."""
        return draw_share(members, self.fraction, generator)

    def describe(self, classes: Sequence[str] = ()) -> str:
        """For example ``a random 10%``."""
        return f"a random {percent(self.fraction)}"

    def substitute(self, labels: Tensor) -> ForgetRule:
        """The rule itself, because the replicates of tuning have their own seeds."""
        return self


class MissingClassError(ValueError):
    """The train set has no image of the class that a rule forgets."""

    def __init__(self, label: int) -> None:
        super().__init__(f"the train set has no image of class {label}")
        self.label = label


@dataclass(frozen=True)
class _OfClass(ForgetRule):
    """The shared part of rules that forget one class."""

    label: int

    def describe(self, classes: Sequence[str] = ()) -> str:
        """The class by number, and by name if the name is not just the number."""
        return self.named(self.class_name(classes))

    def class_name(self, classes: Sequence[str]) -> str:
        """The name of the label's class."""
        return classes[self.label] if self.label < len(classes) else ""

    def named(self, class_name: str) -> str:
        """For example ``class 3 (`cat`)``."""
        shown = f" ({code(class_name)})" if class_name not in ("", str(self.label)) else ""
        return f"class {self.label}{shown}"

    def _rows(self, labels: Tensor, members: Tensor) -> Tensor:
        """The members of the class; raises MissingClassError if the train set has none."""
        if self.label not in labels:
            raise MissingClassError(self.label)
        return members[labels[members] == self.label]

    def _other(self, labels: Tensor) -> int:
        """The next class that has images; the lowest class follows the highest."""
        others = {int(label) for label in labels.tolist()} - {self.label}
        if not others:
            raise ValueError(f"no class other than {self.label} has train images")
        return min(others, key=lambda label: (label < self.label, label))


@dataclass(frozen=True)
class WholeClass(_OfClass):
    """Forget every image with one label."""

    kind: ClassVar[str] = CLASS

    def __post_init__(self) -> None:
        require_own_class(self, WholeClass)
        settle(self, "WholeClass", label=LABEL)

    def select(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> Tensor:
        """All members of the class."""
        return self._rows(labels, members)

    def substitute(self, labels: Tensor) -> ForgetRule:
        """Another class."""
        return WholeClass(self._other(labels))


@dataclass(frozen=True)
class ClassFraction(_OfClass):
    """Forget a share of one class, drawn uniformly for each replicate."""

    fraction: float
    kind: ClassVar[str] = PARTIAL_CLASS

    def __post_init__(self) -> None:
        require_own_class(self, ClassFraction)
        settle(self, "ClassFraction", label=LABEL, fraction=PROPER_SHARE)

    def select(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> Tensor:
        """A uniform draw from the members of the class."""
        return draw_share(self._rows(labels, members), self.fraction, generator)

    def named(self, class_name: str) -> str:
        """For example ``10% of class 3 (`cat`)``."""
        return f"{percent(self.fraction)} of {super().named(class_name)}"

    def substitute(self, labels: Tensor) -> ForgetRule:
        """The same share of another class."""
        return ClassFraction(self._other(labels), self.fraction)


@dataclass(frozen=True)
class GivenRows(ForgetRule):
    """Forget the given rows of the train set: any sequence of distinct whole numbers."""

    rows: tuple[int, ...]
    """In ascending order, however they were given."""
    kind: ClassVar[str] = GIVEN

    def __post_init__(self) -> None:
        require_own_class(self, GivenRows)
        settle(self, "GivenRows", rows=Rows())

    def select(self, labels: Tensor, members: Tensor, generator: torch.Generator) -> Tensor:
        """The given rows."""
        return members.new_tensor(self.rows)

    def describe(self, classes: Sequence[str] = ()) -> str:
        """For example ``20 given images``."""
        return f"{len(self.rows)} given images"

    def substitute(self, labels: Tensor) -> ForgetRule:
        """A random draw of as many rows."""
        return RandomFraction(len(self.rows) / len(labels))


BUILT_IN: tuple[type[ForgetRule], ...] = (RandomFraction, WholeClass, ClassFraction, GivenRows)
