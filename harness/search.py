"""Search spaces: what a tuner may try for one setting of a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Span:
    """Every number from ``low`` to ``high``, both included; whole ones where both are whole."""

    low: float
    high: float
    log: bool = False
    """Whether orders of magnitude are tried alike; ``low`` is then positive."""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"a span's low must be below its high; got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic span must be positive; got a low of {self.low}")

    def values(self) -> tuple[float, float]:
        """Its two ends, which the method's config must accept."""
        return self.low, self.high


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    options: tuple[str | int | float | bool | None, ...]

    def __post_init__(self) -> None:
        if len(self.options) < 2:
            raise ValueError(f"a choice needs two options or more; got {self.options}")

    def values(self) -> tuple[Any, ...]:
        """All of them, each of which the method's config must accept."""
        return self.options


Setting = Span | Choice
