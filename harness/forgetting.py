"""The forget rules: which rows of the train set a scenario forgets."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

RANDOM, CLASS, PARTIAL_CLASS, GIVEN = "random", "class", "partial-class", "given"
KINDS = frozenset({RANDOM, CLASS, PARTIAL_CLASS, GIVEN})
"""The kinds of forget set; a method names those it is defined for."""


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
        _check_share("fraction", self.fraction)

    def __str__(self) -> str:
        return f"random {percent(self.fraction)}"


@dataclass(frozen=True)
class WholeClass:
    """Forget every image that is recorded under one label."""

    label: int
    kind: ClassVar[str] = CLASS

    def __str__(self) -> str:
        return f"class {self.label}"


@dataclass(frozen=True)
class ClassFraction:
    """Forget a share of one class, drawn uniformly and anew for each replicate."""

    label: int
    fraction: float
    kind: ClassVar[str] = PARTIAL_CLASS

    def __post_init__(self) -> None:
        _check_share("fraction", self.fraction)

    def __str__(self) -> str:
        return f"{percent(self.fraction)} of class {self.label}"


@dataclass(frozen=True)
class GivenRows:
    """Forget the given rows of the train set."""

    rows: tuple[int, ...]
    kind: ClassVar[str] = GIVEN

    def __str__(self) -> str:
        return f"{len(self.rows)} given rows"


ForgetRule = RandomFraction | WholeClass | ClassFraction | GivenRows


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must be in (0, 1); got {value}")
