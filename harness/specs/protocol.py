"""Evaluation protocols: the evidence that a run leaves, and how it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.specs.checks import (
    Exactly,
    Function,
    OneOf,
    OrNone,
    Real,
    Several,
    Text,
    Whole,
    settle,
)
from harness.specs.forgetting import KINDS
from harness.specs.names import check_name

if TYPE_CHECKING:
    from torch import Tensor

ANY = OrNone(Real(whole_stays=True))


@dataclass(frozen=True, eq=False)
class Outputs:
    """One model's logits, each ``(n, classes)`` float32."""

    forget: Tensor
    retain: Tensor
    test: Tensor


@dataclass(frozen=True, eq=False)
class Labels:
    """The recorded labels of the same rows, each ``(n,)`` int64."""

    forget: Tensor
    retain: Tensor
    test: Tensor


STORED = "stored"
"""The cost phase for the method's work during the original model's training."""


@dataclass(frozen=True)
class Cost:
    """The total cost of producing one model."""

    seconds: Mapping[str, int | float]
    """Seconds by phase, measured with the device synchronised."""
    passes: int | float
    """Floating-point work, in forward passes of one sample through the backbone."""
    peak_memory: int | None = None
    """Bytes on the GPU; None on a CPU, where one run's memory cannot be separated."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a protocol measures: one model beside models retrained without the forget set."""

    target: Outputs
    labels: Labels
    nonmembers: Tensor
    """``(m,)`` int64: rows of the test set with the class proportions of the forget set."""
    retrained: tuple[Outputs, ...]
    """The K retrained models; if the target is one of them, the other K - 1."""
    cost: Cost


CONFIDENCE = 0.95
"""The level of every interval."""

ROUNDING = 1e-9
"""By how much a value may lie outside its interval."""


@dataclass(frozen=True)
class Estimate:
    """A measured value, with its 95 % interval over the data points measured."""

    value: int | float | None
    low: int | float | None = None
    high: int | float | None = None
    n: int = 0
    note: str = ""
    """Why the value is missing."""

    def __post_init__(self) -> None:
        settle(self, "Estimate", value=ANY, low=ANY, high=ANY, n=Whole(0), note=Text(empty=True))
        if (self.low is None) != (self.high is None):
            raise ValueError(f"Estimate: low and high go together; got {self.low} and {self.high}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"Estimate: low must not be above high; got {self.low}, {self.high}")
        self._check_inside()

    def _check_inside(self) -> None:
        """Raises ValueError if the interval excludes the value, by more than a rounding error."""
        if self.value is None or self.low is None or self.high is None:
            return
        if not self.low - ROUNDING <= self.value <= self.high + ROUNDING:
            raise ValueError(
                f"Estimate: the interval [{self.low}, {self.high}] must contain the value; "
                f"got {self.value}"
            )


@dataclass(frozen=True)
class Metric:
    """One column of a page: its unit, and which direction is better."""

    name: str
    unit: str = "%"
    goal: Literal["high", "low", "match"] = "match"
    """``match``: the closer to the retrained models' value, the better."""
    meaning: str = ""
    """One sentence for readers of a page: what is measured, and on which data."""

    def __post_init__(self) -> None:
        goal = OneOf(("high", "low", "match"))
        settle(
            self,
            "Metric",
            name=Text(),
            unit=Text(empty=True),
            goal=goal,
            meaning=Text(empty=True),
        )


@dataclass(frozen=True)
class Protocol:
    """A measurement: a pure function of the evidence."""

    name: str
    version: int
    """Increased whenever the numbers change, so that finished runs are measured again."""
    metrics: tuple[Metric, ...]
    measure: Callable[[Evidence], Mapping[str, Estimate]]
    paper: str = ""
    defined_for: frozenset[str] = KINDS
    """The kinds of forget set on which it is measured; on others it is left out."""

    def __post_init__(self) -> None:
        check_name("protocol", self.name)
        settle(
            self,
            f"protocol {self.name!r}",
            version=Whole(0),
            metrics=Several(Exactly((Metric,)), "Metric", least=1),
            measure=Function(),
            paper=Text(empty=True),
            defined_for=Several(OneOf(tuple(sorted(KINDS))), "kinds of forget set", least=1),
        )
        object.__setattr__(self, "defined_for", frozenset(self.defined_for))
        names = [metric.name for metric in self.metrics]
        if len({*names}) < len(names):
            raise ValueError(f"protocol {self.name!r}: its metrics share a name; got {names}")
