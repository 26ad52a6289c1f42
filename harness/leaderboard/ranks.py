"""Ranks with simultaneous confidence sets, from gaps that are paired over replicates. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.leaderboard.clusters import independent, mean_error
from harness.leaderboard.gaps import DECIMALS
from harness.leaderboard.grouping import ReplicateKey

SIGNIFICANCE = 0.05
"""The level of the tests, for all pairs of rows together."""
FLOOR = 0.01
"""Percentage points: a smaller gap counts as this one, since 0 has no logarithm."""
FEWEST_FOR_SETS = 6
"""With fewer replicates, or fewer models or forget sets in them, rows are put in the order of their
gaps and nothing is tested."""
BLOCK = 65_536
"""Pairs that are compared at once; they take a few megabytes."""

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]
Gaps = Mapping[str, Mapping[ReplicateKey, float]]
"""Row → replicate → gap in percentage points; every row has the same replicates."""
Pair = tuple[str, str]


class Rank(NamedTuple):
    """A row's place by its mean gap, and the ranks that the tests leave open to it."""

    place: int
    """1 + the number of rows whose mean gap is lower."""
    low: int | None
    """1 + the number of rows that are significantly better; none if nothing was tested."""
    high: int | None
    """The number of rows less those that are significantly worse."""

    @property
    def is_outside(self) -> bool:
        """Whether the place, by arithmetic means, lies outside the set, by geometric ones."""
        if self.low is None or self.high is None:
            return False
        return not self.low <= self.place <= self.high


class _Pairs(NamedTuple):
    """The differences of log gaps of all pairs of rows, first - second, over the replicates."""

    first: Indices
    second: Indices
    mean: Floats
    error: Floats
    """Of the mean; exactly 0 where all differences of the pair are the same."""
    degrees: Floats
    """Of freedom, for the error."""


def rank_sets(gaps: Gaps) -> dict[str, Rank]:
    """Each row's place and its 95 % set of ranks, simultaneous over all rows.

    In 95 % of tables all true ranks by geometric mean lie in their sets at once. With fewer than
    six replicates, or fewer than six models or forget sets in them, there are places only. Raises
    ValueError for rows whose replicates differ, for a row without replicates, and for a gap that
    is negative or not finite.
    """
    if not gaps:
        return {}
    table, replicates = _table(gaps)
    means = table.mean(axis=1).round(DECIMALS)
    places = 1 + np.searchsorted(np.sort(means), means, side="left")
    if independent(replicates) < FEWEST_FOR_SETS:
        return {row: Rank(int(at), None, None) for row, at in zip(gaps, places, strict=True)}
    rows = len(table)
    better, worse = _significant(table, replicates)
    low = 1 + np.bincount(worse, minlength=rows)
    high = rows - np.bincount(better, minlength=rows)
    sets = zip(places.tolist(), low.tolist(), high.tolist(), strict=True)
    return {row: Rank(*each) for row, each in zip(gaps, sets, strict=True)}


def significant_pairs(gaps: Gaps) -> set[Pair]:
    """The pairs of rows, the better one first, that ``rank_sets`` tells apart.

    A pair is significant if the two-sided paired t-test on log gaps, floored at 0.01 points, has a
    p-value of at most 5 % after Holm's adjustment over all pairs; where replicates share models or
    forget sets, its standard error is that of ``clusters.mean_error``. The better row has the lower
    geometric mean. Raises ValueError as ``rank_sets`` does.
    """
    (table, replicates), names = _table(gaps), list(gaps)
    if independent(replicates) < FEWEST_FOR_SETS:
        return set()
    better, worse = _significant(table, replicates)
    return {(names[i], names[j]) for i, j in zip(better.tolist(), worse.tolist(), strict=True)}


def smallest_ratio(gaps: Gaps) -> float | None:
    """The ratio of two rows' geometric mean gaps from which the tests could tell them apart.

    At the median pair, at Holm's first step: the critical t at 5 % over the number of pairs, times
    the standard error of the pair's differences of log gaps. None with fewer than two rows, or too
    few replicates for a test. Raises ValueError as ``rank_sets`` does.
    """
    table, replicates = _table(gaps)
    if len(table) < 2 or independent(replicates) < FEWEST_FOR_SETS:
        return None
    from scipy import special  # noqa: PLC0415 - only a page's numbers need scipy

    pairs = _pairs(table, replicates)
    level = SIGNIFICANCE / len(pairs.error) / 2
    critical = -special.stdtrit(pairs.degrees, level)
    return math.exp(float(np.median(critical * pairs.error)))


def holm(p_values: ArrayLike) -> Floats:
    """The p-values (n,) adjusted for their number by Holm's step-down procedure, in [0, 1].

    Holm 1979, https://www.jstor.org/stable/4615733
    """
    raw = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    steps = np.minimum(1.0, np.arange(len(raw), 0, -1) * raw[order])
    adjusted = np.empty_like(raw)
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted


def _table(gaps: Gaps) -> tuple[Floats, Sequence[ReplicateKey]]:
    """The gaps as (rows, replicates), and the replicates."""
    replicates = list(next(iter(gaps.values()), ()))
    expected = set(replicates)
    for row, cells in gaps.items():
        if not cells:
            raise ValueError(f"row {row!r}: a row needs at least one replicate; it has none")
        if cells.keys() != expected:
            raise ValueError(
                f"row {row!r}: all rows must have the same replicates, here {replicates}; "
                f"got {list(cells)}"
            )
        if not all(math.isfinite(gap) and gap >= 0 for gap in cells.values()):
            raise ValueError(
                f"row {row!r}: every gap must be finite and not negative; got {[*cells.values()]}"
            )
    values = [[cells[replicate] for replicate in replicates] for cells in gaps.values()]
    return np.array(values, dtype=np.float64).reshape(len(gaps), len(replicates)), replicates


def _significant(table: Floats, replicates: Sequence[ReplicateKey]) -> tuple[Indices, Indices]:
    """The better and the worse row of each significant pair."""
    pairs = _pairs(table, replicates)
    found = holm(_p_values(pairs)) <= SIGNIFICANCE
    first, second, ahead = pairs.first[found], pairs.second[found], pairs.mean[found] < 0
    return np.where(ahead, first, second), np.where(ahead, second, first)


def _pairs(table: Floats, replicates: Sequence[ReplicateKey]) -> _Pairs:
    logs = np.log(np.maximum(table, FLOOR))
    first, second = np.triu_indices(len(table), 1)
    mean, error, degrees = (np.empty(len(first)) for _ in range(3))
    for start in range(0, len(first), BLOCK):
        block = slice(start, start + BLOCK)
        # gaps that are equal, or in a constant ratio, differ by nothing but float64's own noise
        differences = (logs[first[block]] - logs[second[block]]).round(DECIMALS)
        mean[block] = differences.mean(axis=1)
        varies = np.ptp(differences, axis=1) > 0
        found = mean_error(differences, replicates)
        assert found is not None  # nothing is tested with fewer than six models or forget sets
        error[block] = np.where(varies, found.error, 0.0)
        degrees[block] = found.degrees
    return _Pairs(first, second, mean, error, degrees)


def _p_values(pairs: _Pairs) -> Floats:
    """1 for equal rows, 0 for a constant difference."""
    from scipy import special  # noqa: PLC0415 - only a page's numbers need scipy

    varies = pairs.error > 0
    errors = np.where(varies, pairs.error, 1.0)
    tested = 2 * special.stdtr(pairs.degrees, -np.abs(pairs.mean) / errors)
    return np.asarray(np.where(varies, tested, np.where(pairs.mean == 0, 1.0, 0.0)))
