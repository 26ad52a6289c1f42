"""Evaluation protocols: how a run is measured, and what a measurement consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.specs.checks import (
    Exactly,
    Flag,
    Function,
    OneOf,
    OrNone,
    Real,
    Several,
    Text,
    Whole,
    settle,
)
from harness.specs.evidence import Evidence
from harness.specs.forgetting import KINDS
from harness.specs.names import check_name
from harness.specs.score_summary import ScoreSummary

ANY = OrNone(Real(whole_stays=True))


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
    shared: bool = field(default=False, metadata={"later": True})
    """Whether a method has one value in all replicates, as where replays are measured; a page then
    shows the value's own interval."""

    def __post_init__(self) -> None:
        goal = OneOf(("high", "low", "match"))
        settle(
            self,
            "Metric",
            name=Text(),
            unit=Text(empty=True),
            goal=goal,
            meaning=Text(empty=True),
            shared=Flag(),
        )


POOL, REPLAYS, ENSEMBLES = "references", "replays", "ensembles"
NEEDS = (POOL, REPLAYS, ENSEMBLES)
"""What a protocol may need besides the logits of the model and of the retrained models."""


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
    needs: frozenset[str] = frozenset()
    """Any of ``NEEDS``: what the evidence must contain for it. It is measured where a scenario or a
    command asks for the models."""
    summarise: Callable[[Evidence], ScoreSummary] | None = None
    """The scores of an attack, for the pictures of a page; it is called after ``measure``."""

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
            needs=Several(OneOf(NEEDS), ", ".join(map(repr, NEEDS))),
            summarise=OrNone(Function()),
        )
        object.__setattr__(self, "defined_for", frozenset(self.defined_for))
        object.__setattr__(self, "needs", frozenset(self.needs))
        names = [metric.name for metric in self.metrics]
        if len({*names}) < len(names):
            raise ValueError(f"protocol {self.name!r}: its metrics share a name; got {names}")

    @property
    def is_shared(self) -> bool:
        """Whether all its metrics are shared; then it measures one run of a method, not each."""
        return all(metric.shared for metric in self.metrics)
