"""What a scenario's page shows: its table, and the standing of each row in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.leaderboard.keys import ReplicateKey
from harness.leaderboard.ranks import Rank
from harness.leaderboard.spread import Summary
from harness.records.lines import Basis, Run
from harness.specs.scenario import Scenario

BUDGET = 0.2
"""Of retraining's passes: the most that a run with tuned settings may take, all included."""

SLACK = 1.001
"""Retraining for a fifth of its epochs is a fifth of its passes, but for rounding."""


@dataclass(frozen=True)
class Standing:
    """One row of a table: a method with its settings, at its newest source."""

    label: str
    method: str
    config: Mapping[str, Any]
    rank: Rank | None
    unranked: str
    """Why it has no rank; empty where it has one, and for the references."""
    gap: Summary | None
    """In percentage points, of a ranked row on the page's own replicates; of the row ``retrain``
    the noise floor. None where a run did not finish."""
    survivors: Summary | None
    """The gap of its finished runs, where others did not finish."""
    metrics: Mapping[str, Summary]
    """``protocol.metric`` → over replicates."""
    differences: Mapping[str, Summary]
    """The same less the mean of the retrained models of each replicate."""
    notes: Mapping[str, str]
    """``protocol.metric`` → why it has no value."""
    seconds: Summary | None
    """On the table's hardware."""
    seconds_share: float | None
    """Of retraining's, on the same hardware."""
    passes: Summary | None
    """None where all runs failed."""
    passes_share: float | None
    replicates: int
    runs: int
    diverged: int
    """Of its runs."""
    changed: int
    """Of its runs, how many returned another architecture."""
    failed: int
    """Of its runs, how many left no model."""
    elsewhere: str
    """Its hardware, where it is judged against other retrained models than most rows are."""
    earlier: str
    """Where it is of an earlier source than the newest: what there is of the newest."""
    stored: bool
    """Whether it uses statistics that were stored when the original was trained."""
    chosen: str
    """How its settings were chosen; empty: its defaults."""
    tuning_share: float | None
    """Passes of all its trials, as a share of one retraining's; none where it was not tuned."""

    @property
    def faulty(self) -> bool:
        """Whether some of its runs did not finish."""
        return bool(self.diverged or self.changed or self.failed)

    @property
    def beyond_budget(self) -> bool:
        """Whether it takes more passes than tuned settings may."""
        return self.passes_share is not None and self.passes_share > BUDGET * SLACK


@dataclass(frozen=True)
class Table:
    """All that a scenario's page shows."""

    scenario: Scenario
    basis: Basis
    standings: tuple[Standing, ...]
    """The references first, then those with a rank by gap, then those without by gap."""
    components: tuple[str, ...]
    """The metrics that the average gap is made of."""
    obstacle: str
    """Why nothing is ranked, whatever the rows; empty where nothing stands in the way."""
    discriminates: bool | None
    """None where too few replicates tell; then nothing is ranked either."""
    ranked: int
    """The rows that have a rank."""
    replicates: tuple[ReplicateKey, ...]
    """The page's own, on which its rows are ranked; empty where no row has a gap."""
    smallest_ratio: float | None
    """The ratio of two gaps from which this table could tell them apart; none without a test."""
    tuned: bool
    """Whether some row has tuned settings."""
    gaps: Mapping[str, Mapping[ReplicateKey, float]]
    """Label → replicate → average gap in percentage points; of the rows that enter the ranks."""
    hardware: str
    runs: tuple[Run, ...]
    left_out: int
    """Runs of another definition of the scenario or source of a method, or made again."""
    remarks: tuple[str, ...]
    """Sentences on what else is left out, or is of an earlier definition."""
    undefined: Mapping[str, str]
    """Method → why it has no row."""
    outdated: tuple[str, ...]
    """Protocols by whose earlier version some run is measured; those numbers are left out."""
