"""A metric's values over replicates, from which intervals of any level follow. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from harness.leaderboard.grouping import ReplicateKey
from harness.leaderboard.summary import half_width
from harness.specs.protocol import CONFIDENCE


@dataclass(frozen=True)
class Readings:
    """What one row has of one metric; the draws of a replicate are averaged."""

    values: Mapping[ReplicateKey, float]
    differences: Mapping[ReplicateKey, float] = field(default_factory=dict)
    """The values less the mean of the retrained models; none for these models."""
    own: Mapping[ReplicateKey, float] = field(default_factory=dict)
    """Half the width of a run's own 95 % interval, which is over the images measured."""
    images: Mapping[ReplicateKey, int] = field(default_factory=dict)
    """How many images were measured, in all."""

    def on(self, replicates: Collection[ReplicateKey]) -> Readings:
        """The same on these replicates alone; on all where none is given."""
        if not replicates:
            return self
        return Readings(
            values={at: x for at, x in self.values.items() if at in replicates},
            differences={at: x for at, x in self.differences.items() if at in replicates},
            own={at: x for at, x in self.own.items() if at in replicates},
            images={at: n for at, n in self.images.items() if at in replicates},
        )

    @property
    def mean(self) -> float:
        """The mean of the values; there must be one."""
        return statistics.fmean(self.values.values())

    def half_width(self, confidence: float = CONFIDENCE) -> float | None:
        """Half the width of the mean's interval; none where nothing tells.

        Over independent replicates it is the t-interval, and over others that of
        ``clusters.mean_error``. A single run's is its own, which tells of the images alone.
        """
        if len(self.values) != 1:
            return half_width(self.values, confidence)
        (own,) = [self.own.get(at) for at in self.values]
        return None if own is None else own * _normal(confidence) / _normal(CONFIDENCE)


def _normal(confidence: float) -> float:
    """The standard normal quantile that a two-sided interval reaches to."""
    return statistics.NormalDist().inv_cdf((1 + confidence) / 2)
