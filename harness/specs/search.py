"""Search spaces: the values that tuning may try for one setting of a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.specs.checks import Flag, Real, Several, Text, number_of, settle

END = Real(whole_stays=True)


@dataclass(frozen=True)
class Option:
    """One value that a setting may take."""

    def __str__(self) -> str:
        return "text, a finite number, True, False or None"

    def take(self, value: Any) -> str | int | float | bool | None:
        """The value as a Python type."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return Text(empty=True).take(value)
        return END.take(number_of(value))


@dataclass(frozen=True)
class Span:
    """The numbers from ``low`` to ``high``, inclusive; only whole numbers if both are whole."""

    low: float
    high: float
    log: bool = False
    """Whether to search on a logarithmic scale, which requires a positive ``low``."""

    def __post_init__(self) -> None:
        settle(self, "Span", low=END, high=END, log=Flag())
        if not self.low < self.high:
            raise ValueError(f"a span's low must be below its high; got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic span must be positive; got a low of {self.low}")

    def values(self) -> tuple[float, float]:
        """The two ends, both of which the method's config must accept."""
        return self.low, self.high


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    options: tuple[str | int | float | bool | None, ...]

    def __post_init__(self) -> None:
        options = Several(Option(), "text, numbers, True, False or None", least=2)
        settle(self, "Choice", options=options)
        if len({(type(option), option) for option in self.options}) < len(self.options):
            raise ValueError(f"a choice must not repeat an option; got {self.options}")

    def values(self) -> tuple[Any, ...]:
        """All options, each of which the method's config must accept."""
        return self.options


Setting = Span | Choice
