"""A small summary of an attack's scores, which records keep so that pages can draw pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.specs.checks import Real, Several, Whole, settle

FPRS = tuple(10 ** (exponent / 8) for exponent in range(-24, 1))
"""The false positive rates at which a ROC is kept: eight per decade, from 0.001 to 1."""

BINS = 24
"""The number of equal bins of a histogram."""

FEWEST_FALSE_POSITIVES = 10
"""The fewest false positives at a TPR's threshold; with fewer, single points decide it."""

RATE = Real(0, 1)


@dataclass(frozen=True)
class ScoreSummary:
    """The ROC and the histograms of one attack on one model."""

    tpr: tuple[float, ...]
    """The true positive rate, in [0, 1], at each rate of ``FPRS``."""
    low: float
    """The left edge of the histograms; lower scores are counted in the first bin."""
    high: float
    """The right edge; higher scores are counted in the last bin."""
    members: tuple[int, ...]
    """How many of the forget set's scores lie in each bin."""
    nonmembers: tuple[int, ...]
    """The same of the non-members."""

    def __post_init__(self) -> None:
        counts = Several(Whole(0), "counts")
        settle(
            self,
            "ScoreSummary",
            tpr=Several(RATE, "rates"),
            low=Real(),
            high=Real(),
            members=counts,
            nonmembers=counts,
        )
        _require_length("tpr", self.tpr, len(FPRS))
        _require_length("members", self.members, BINS)
        _require_length("nonmembers", self.nonmembers, BINS)
        if not self.low < self.high:
            raise ValueError(f"ScoreSummary: low must be below high; got {self.low}, {self.high}")


def _require_length(name: str, values: Sequence[object], length: int) -> None:
    if len(values) != length:
        raise ValueError(f"ScoreSummary: {name} must have {length} values; got {len(values)}")
