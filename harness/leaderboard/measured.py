"""What one row has of each metric: over its replicates, or one value for all of them. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.leaderboard.gaps import Comparison
from harness.leaderboard.grouping import ReplicateKey, replicate_of
from harness.leaderboard.readings import Readings
from harness.leaderboard.summary import Summary, summarise_replicates
from harness.records.lines import Run
from harness.specs.protocol import Estimate
from harness.specs.scenario import RETRAIN


@dataclass(frozen=True)
class Measured:
    """One metric of a row, over its replicates."""

    value: Summary | None
    """None where no run has a value."""
    difference: Summary | None
    """The same less the mean of the retrained models of each replicate; none for these models."""
    note: str
    """Why some run has no value; empty where all have one."""
    readings: Readings
    """The values behind the summaries."""


def measured_of(runs: Sequence[Run], comparison: Comparison) -> dict[str, Measured]:
    """Metric → what these runs of one row, in the order of age, have of it."""
    every: dict[str, list[tuple[Run, Estimate]]] = defaultdict(list)
    differences: dict[str, list[tuple[Run, float]]] = defaultdict(list)
    for run in runs:
        for name, estimate in comparison.estimates.of(run).items():
            every[name].append((run, estimate))
        if run.method != RETRAIN:
            for name, difference in comparison.differences(run).items():
                differences[name].append((run, difference))
    return {
        name: _measured(every[name], differences[name], shared=comparison.estimates.is_shared(name))
        for name in sorted(every)
    }


def _measured(
    every: Sequence[tuple[Run, Estimate]],
    differences: Sequence[tuple[Run, float]],
    *,
    shared: bool,
) -> Measured:
    known = {replicate_of(run): found for run, found in every if found.value is not None}
    readings = Readings(
        values=_by_replicate((run, found.value) for run, found in every),
        differences=_by_replicate(differences),
        own={at: half for at, found in known.items() if (half := _own_half(found)) is not None},
        images={at: found.n for at, found in known.items()},
    )
    notes = [found.note for _, found in every if found.value is None]
    value = summarise_replicates(readings.values) if readings.values else None
    difference = summarise_replicates(readings.differences) if readings.differences else None
    if shared:
        newest = [found for _, found in every if found.value is not None][-1:]
        value = _alone(newest[0]) if newest else None
        difference = Summary(differences[-1][1], None, None, None, 1) if differences else None
    return Measured(value, difference, notes[-1] if notes else "", readings)


def _by_replicate(found: Iterable[tuple[Run, float | None]]) -> dict[ReplicateKey, float]:
    """The draws of one replicate are averaged."""
    values: dict[ReplicateKey, list[float]] = defaultdict(list)
    for run, value in found:
        if value is not None:
            values[replicate_of(run)].append(value)
    return {at: statistics.fmean(each) for at, each in values.items()}


def _own_half(found: Estimate) -> float | None:
    """Half the width of its interval; the longer half, since it may be clipped on one side."""
    if found.value is None or found.low is None or found.high is None:
        return None
    return max(found.value - found.low, found.high - found.value)


def _alone(found: Estimate) -> Summary:
    assert found.value is not None
    return Summary(found.value, None, found.low, found.high, 1)
