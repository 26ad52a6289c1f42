"""The forget rules: which rows of the train set a scenario forgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

RANDOM, CLASS, PARTIAL_CLASS, GIVEN = "random", "class", "partial-class", "given"
KINDS = frozenset({RANDOM, CLASS, PARTIAL_CLASS, GIVEN})
"""The kinds of forget set; a method names those it is defined for."""


@dataclass(frozen=True)
class RandomFraction:
    """Forget a share of the train set, drawn uniformly and anew for each replicate."""

    fraction: float
    kind: ClassVar[str] = RANDOM

    def __post_init__(self) -> None:
        _check_share("fraction", self.fraction)

    def __str__(self) -> str:
        return f"random {self.fraction:.0%}"


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
        return f"{self.fraction:.0%} of class {self.label}"


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
