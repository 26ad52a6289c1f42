"""One row of a table: its numbers, its cost, its settings, and what became of its runs. Pure.

A row holds the runs of one method with one set of settings.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.leaderboard.admission import Entry, RankedRows, fault_of
from harness.leaderboard.gaps import Comparison
from harness.leaderboard.grouping import age, comparable, hardware_of, replicate_of
from harness.leaderboard.measured import Measured, measured_of
from harness.leaderboard.ranks import Rank
from harness.leaderboard.selection import Progress, Selection
from harness.leaderboard.summary import Summary, summarise, summarise_replicates
from harness.records.lines import BY_HAND, FAILED, FINISHED, Run, canonical
from harness.records.tuned import BUDGET, SLACK
from harness.specs.evidence import STORED
from harness.specs.scenario import REFERENCES, RETRAIN


@dataclass(frozen=True)
class Spending:
    """What a run of the row took on average."""

    seconds: Summary | None
    """On the table's hardware; none where every run was made elsewhere or failed."""
    seconds_share: float | None
    """Of retraining's, on the same hardware."""
    passes: Summary | None
    """None where all runs failed."""
    passes_share: float | None
    """Of retraining's."""
    uses_stored: bool
    """Whether it uses statistics that were stored when the original was trained."""

    @property
    def beyond_budget(self) -> bool:
        """Whether it takes more passes than tuned settings may."""
        return self.passes_share is not None and self.passes_share > BUDGET * SLACK


@dataclass(frozen=True)
class Settings:
    """A row's settings, and how they were chosen."""

    config: Mapping[str, Any]
    """Without the settings that have no part in the scenario, as far as the records name them."""
    chosen: str
    """Empty: they are the method's defaults."""
    tuning_share: float | None
    """Passes of all trials, as a share of one retraining's; none where nothing was tuned."""

    @property
    def tuned(self) -> bool:
        """Whether trials chose them."""
        return self.chosen not in ("", BY_HAND)


@dataclass(frozen=True)
class Outcomes:
    """What became of a row's runs, on whatever replicates."""

    replicates: int
    by_status: Mapping[str, int]
    """Status → how many runs ended with it."""

    @property
    def all_finished(self) -> bool:
        """Whether every run left a model that can be measured."""
        return {*self.by_status} == {FINISHED}


@dataclass(frozen=True)
class Row:
    """A method with its settings, as a table shows it."""

    label: str
    method: str
    settings: Settings
    rank: Rank | None
    unranked: str
    """Why it has no rank, where others on the page have one; empty for the references."""
    finished_gap: Summary | None
    """The average gap of its finished runs, in percentage points; of ``retrain`` the noise floor.
    Of a row that is ranked, on the page's own replicates."""
    metrics: Mapping[str, Measured]
    """By ``protocol.metric``."""
    spending: Spending
    outcomes: Outcomes
    elsewhere: str
    """Its hardware, where it is judged against other retrained models than most rows are."""
    newer_source: Progress | None
    """Of the method, where the row shows an older source."""

    @property
    def gap(self) -> Summary | None:
        """The average gap; none if a run did not finish, since the others would flatter it."""
        return self.finished_gap if self.outcomes.all_finished else None

    @property
    def is_reference(self) -> bool:
        """Whether it is one of the rows that the harness supplies, which are never ranked."""
        return self.method in REFERENCES


@dataclass(frozen=True)
class RowBuilder:
    """Makes the rows of one table, each from its runs."""

    selection: Selection
    comparison: Comparison
    hardware: str
    """On which seconds are compared."""

    def entry(self, key: str) -> Entry:
        """What decides whether a row enters the ranks."""
        runs = self.selection.rows[key]
        return Entry(
            key=key,
            method=runs[0].method,
            chosen=_settling(runs).chosen,
            made=frozenset(replicate_of(run) for run in runs),
            gaps=self.comparison.gaps(runs),
            fault=fault_of(runs),
            age=max(age(run) for run in runs),
        )

    def shown(self, key: str, field: RankedRows) -> Sequence[Run]:
        """The runs behind a row's numbers."""
        every = self.selection.rows[key]
        if key not in field.gaps:
            return every
        return [run for run in every if replicate_of(run) in field.replicates]

    def row(self, key: str, label: str, rank: Rank | None, field: RankedRows) -> Row:
        """A row of the table; one that enters the ranks shows the page's own replicates alone."""
        every = self.selection.rows[key]
        shown = self.shown(key, field)
        method = every[0].method
        return Row(
            label=label,
            method=method,
            settings=self._settings(every, shown),
            rank=rank,
            unranked=field.reasons.get(key, ""),
            finished_gap=self._finished_gap(shown),
            metrics=measured_of(shown, self.comparison),
            spending=self._spending(shown),
            outcomes=Outcomes(
                replicates=len({replicate_of(run) for run in every}),
                by_status=Counter(run.status for run in every),
            ),
            elsewhere=self.selection.elsewhere(shown),
            newer_source=self.selection.newer_sources.get(method),
        )

    def _finished_gap(self, runs: Sequence[Run]) -> Summary | None:
        if runs[0].method == RETRAIN:
            gaps = self.comparison.noise_floor(self.selection.main)
        else:
            gaps = self.comparison.gaps(run for run in runs if run.status == FINISHED)
        return summarise_replicates(gaps) if gaps else None

    def _spending(self, runs: Sequence[Run]) -> Spending:
        made = [run for run in runs if run.status != FAILED]
        retrained = self.selection.behind(made)
        seconds = self._seconds(made)
        passes = [run.cost.passes for run in made]
        return Spending(
            seconds=summarise(seconds) if seconds else None,
            seconds_share=_share(seconds, self._seconds(retrained)),
            passes=summarise(passes) if passes else None,
            passes_share=_share(passes, [run.cost.passes for run in retrained]),
            uses_stored=any(STORED in run.cost.seconds for run in runs),
        )

    def _seconds(self, runs: Iterable[Run]) -> list[float]:
        return [sum(run.cost.seconds.values()) for run in runs if hardware_of(run) == self.hardware]

    def _settings(self, every: Sequence[Run], shown: Sequence[Run]) -> Settings:
        settling = _settling(every)
        tuning = [settling.tuning_passes] if settling.tuning_passes else []
        retrained = self.selection.behind(run for run in shown if run.status != FAILED)
        return Settings(
            config={n: v for n, v in shown[0].config.items() if n not in shown[0].idle},
            chosen=settling.chosen,
            tuning_share=_share(tuning, [run.cost.passes for run in retrained]),
        )


def _settling(runs: Sequence[Run]) -> Run:
    """The run that says how a row's settings were chosen.

    The newest; but one whose settings were given by hand only where all were.
    """
    return max(runs, key=lambda run: (run.chosen != BY_HAND, age(run)))


def _share(values: Sequence[float], retrained: Sequence[float]) -> float | None:
    """The mean of the values over that of the retrained models; none where either is missing."""
    if not values or not retrained or not statistics.fmean(retrained):
        return None
    return statistics.fmean(values) / statistics.fmean(retrained)


def labels(rows: Mapping[str, Sequence[Run]]) -> dict[str, str]:
    """The method's name; where it has several rows, with the settings in which they differ."""
    settings = {key: _comparable_settings(runs[0]) for key, runs in rows.items()}
    rows_of_method = Counter(runs[0].method for runs in rows.values())
    rows_with: Counter[tuple[str, str, str]] = Counter()
    for key, runs in rows.items():
        rows_with.update((runs[0].method, name, text) for name, text in settings[key].items())
    found = {}
    for key, runs in rows.items():
        run = runs[0]
        distinctive = [
            f"{name}={run.config[name]}"
            for name, text in settings[key].items()
            if rows_with[run.method, name, text] < rows_of_method[run.method]
        ]
        found[key] = f"{run.method} ({', '.join(distinctive)})" if distinctive else run.method
    return found


def _comparable_settings(run: Run) -> dict[str, str]:
    """Setting → value, the same text for equal values."""
    return {name: canonical(comparable([value])) for name, value in run.config.items()}
