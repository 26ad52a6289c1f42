"""The scores of a page's rows under each attack: mean ROCs and histograms over replicates. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.leaderboard.gaps import Estimates
from harness.leaderboard.grouping import replicate_of
from harness.records.lines import Run
from harness.specs.protocol import Metric
from harness.specs.score_summary import BINS, ScoreSummary


@dataclass(frozen=True)
class RowScores:
    """The scores of one row's runs."""

    tpr: tuple[float, ...]
    """At each of ``FPRS``: the mean over the runs."""
    lowest: tuple[float, ...]
    """The lowest of any run."""
    highest: tuple[float, ...]
    """The highest of any run."""
    members: tuple[float, ...]
    """The share of the forget set's scores in each bin, over all runs together."""
    nonmembers: tuple[float, ...]
    """The same of the non-members."""


@dataclass(frozen=True)
class AttackScores:
    """All rows' scores under one attack."""

    low: float
    """The left edge of all histograms."""
    high: float
    """Their right edge."""
    fewest: int
    """The non-members of the run that has the fewest."""
    rows: Mapping[str, RowScores]
    """By label; only rows with scores."""


def score_curves(
    rows: Mapping[str, Sequence[Run]], estimates: Estimates, definitions: Mapping[str, Metric]
) -> dict[str, AttackScores]:
    """Protocol → the scores of the rows, by label; of the protocols that have any.

    Where all metrics of a protocol are shared, so are the scores: those of a row's first replicate
    stand for all. ``definitions`` are by ``protocol.metric``.
    """
    found: dict[str, dict[str, list[ScoreSummary]]] = defaultdict(dict)
    for label, runs in rows.items():
        for protocol, summaries in _of_row(runs, estimates, definitions).items():
            found[protocol][label] = summaries
    return {protocol: together(found[protocol]) for protocol in sorted(found)}


def _of_row(
    runs: Iterable[Run], estimates: Estimates, definitions: Mapping[str, Metric]
) -> dict[str, list[ScoreSummary]]:
    found: dict[str, list[ScoreSummary]] = defaultdict(list)
    first: dict[str, Run] = {}
    for run in sorted(runs, key=lambda each: (replicate_of(each), each.draw)):
        for protocol, summary in estimates.scores(run).items():
            earliest = first.setdefault(protocol, run)
            is_first = replicate_of(run) == replicate_of(earliest)
            if is_first or not _is_shared(protocol, definitions):
                found[protocol].append(summary)
    return found


def _is_shared(protocol: str, definitions: Mapping[str, Metric]) -> bool:
    own = [each for name, each in definitions.items() if name == f"{protocol}.{each.name}"]
    return bool(own) and all(each.shared for each in own)


def together(rows: Mapping[str, Sequence[ScoreSummary]]) -> AttackScores:
    """The rows of one attack, with histograms on common edges: the outermost of all."""
    every = [summary for summaries in rows.values() for summary in summaries]
    low, high = min(each.low for each in every), max(each.high for each in every)
    return AttackScores(
        low=low,
        high=high,
        fewest=min(sum(each.nonmembers) for each in every),
        rows={label: _row(summaries, low, high) for label, summaries in rows.items()},
    )


def _row(summaries: Sequence[ScoreSummary], low: float, high: float) -> RowScores:
    rates = [*zip(*(each.tpr for each in summaries), strict=True)]
    return RowScores(
        tpr=tuple(statistics.fmean(values) for values in rates),
        lowest=tuple(map(min, rates)),
        highest=tuple(map(max, rates)),
        members=_shares([_on_edges(each, each.members, low, high) for each in summaries]),
        nonmembers=_shares([_on_edges(each, each.nonmembers, low, high) for each in summaries]),
    )


def _on_edges(
    summary: ScoreSummary, counts: Sequence[int], low: float, high: float
) -> Sequence[float]:
    """The counts in equal bins from ``low`` to ``high``; a bin that is cut is shared by length."""
    if (summary.low, summary.high) == (low, high):
        return counts
    own, common = (
        np.linspace(*edges, BINS + 1) for edges in ((summary.low, summary.high), (low, high))
    )
    up_to = np.interp(common, own, np.cumsum([0, *counts]))
    return [float(count) for count in np.diff(up_to)]


def _shares(counts: Sequence[Sequence[float]]) -> tuple[float, ...]:
    total = sum(map(sum, counts))
    return tuple(sum(values) / total if total else 0.0 for values in zip(*counts, strict=True))
