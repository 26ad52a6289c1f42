"""From published lines to the numbers of a scenario's table: gaps, ranks, costs. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.evidence import STORED, Estimate
from harness.records import (
    CHANGED,
    DIVERGED,
    FAILED,
    FINISHED,
    Line,
    Measurement,
    Run,
    Undefined,
    merge,
)
from harness.rows import (
    ReplicateKey,
    age,
    commonest_hardware,
    hardware_of,
    identity_of,
    labels,
    replicate_of,
    runs_of,
    share_of,
    values_of,
)
from harness.selection import ReferenceSet, Selection, select, set_of
from harness.specs import ORIGINAL, REFERENCES, RETRAIN
from harness.statistics import (
    Summary,
    exceeds_noise,
    ranks,
    retrain_noise,
    smallest_difference,
    summarise,
)

ACCURACIES = ("accuracy.forget", "accuracy.retain", "accuracy.test")


@dataclass(frozen=True)
class Standing:
    """One row of a table: a method with its settings, at its newest source."""

    label: str
    method: str
    config: Mapping[str, Any]
    rank: int | None
    gap: Summary | None
    """In percentage points; of the row ``retrain`` the noise floor. None where a run diverged."""
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
    reasons: tuple[str, ...]
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


@dataclass(frozen=True)
class Table:
    """All that a scenario's page shows."""

    scenario: Mapping[str, Any]
    standings: tuple[Standing, ...]
    """The references first, then by gap: one that varies much may be far behind and yet not
    significantly so."""
    components: tuple[str, ...]
    """The metrics that the average gap is made of."""
    discriminates: bool | None
    """None where too few replicates tell; then nothing is ranked either."""
    detectable: float | None
    """The smallest difference of two gaps that this table could call significant."""
    gaps: Mapping[str, Mapping[ReplicateKey, float]]
    """Label → replicate → average gap in percentage points; of the rows that may be ranked."""
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


def tables(lines: Iterable[Line]) -> list[Table]:
    """One table a scenario, by name."""
    measured: dict[tuple[str, str], list[Measurement]] = defaultdict(list)
    by_scenario: dict[str, list[Run]] = defaultdict(list)
    undefined: dict[str, dict[str, str]] = defaultdict(dict)
    for line in merge(lines):
        if isinstance(line, Undefined):
            undefined[line.scenario][line.method] = line.reason
        elif isinstance(line, Measurement):
            measured[identity_of(line)].append(line)
        else:
            by_scenario[line.scenario["name"]].append(line)
    return [_table(by_scenario[name], measured, undefined[name]) for name in sorted(by_scenario)]


def _table(
    runs: Sequence[Run],
    measured: Mapping[tuple[str, str], Sequence[Measurement]],
    undefined: Mapping[str, str],
) -> Table:
    selection = select(runs)
    rows, kept = selection.rows, selection.runs
    newest = max(kept, key=age)
    present = {run.method for run in kept}
    values, outdated = values_of(kept, measured)
    components = (*ACCURACIES, newest.scenario["mia"])
    view = _View(selection, values, components, commonest_hardware(kept))
    gaps: dict[str, Mapping[ReplicateKey, float]] = {
        key: gap
        for key, row in rows.items()
        if row[0].method not in REFERENCES
        and all(run.status == FINISHED for run in row)
        and (gap := view.gaps(row))
    }
    discriminates = view.discriminates()
    rank = ranks(gaps) if discriminates else {}
    names = labels(rows)
    standings = [view.standing(key, names[key], rank.get(key)) for key in rows]
    return Table(
        scenario=newest.scenario,
        standings=tuple(sorted(standings, key=_order)),
        components=components,
        discriminates=discriminates,
        detectable=smallest_difference(gaps) if discriminates else None,
        gaps={names[key]: gap for key, gap in gaps.items()},
        hardware=view.hardware,
        runs=kept,
        left_out=len(runs) - len(kept),
        remarks=selection.remarks,
        undefined={name: why for name, why in undefined.items() if name not in present},
        outdated=outdated,
    )


class _View:
    """The rows of one table beside its retrained models."""

    def __init__(
        self,
        selection: Selection,
        values: Mapping[tuple[str, str], Mapping[str, Estimate]],
        components: tuple[str, ...],
        hardware: str,
    ) -> None:
        self.rows, self._values, self.components = selection.rows, values, components
        self.hardware, self._selection = hardware, selection
        self._draws: dict[tuple[ReferenceSet, str], list[float]] = defaultdict(list)
        for at, draws in selection.retrained.items():
            for run in draws:
                for metric, value in self._finite(run).items():
                    self._draws[at, metric].append(value)

    def _finite(self, run: Run) -> dict[str, float]:
        estimates = self._values.get(identity_of(run), {})
        return {name: e.value for name, e in estimates.items() if e.value is not None}

    def differences(self, run: Run) -> dict[str, float]:
        """Metric → the run's value less the mean of the retrained models that it names."""
        at = set_of(run)
        return {
            name: value - statistics.fmean(self._draws[at, name])
            for name, value in self._finite(run).items()
            if (at, name) in self._draws
        }

    def gaps(self, row: Sequence[Run]) -> dict[ReplicateKey, float]:
        """The average gap of each replicate in which all components were measured."""
        gaps = {}
        for run in row:
            differences = self.differences(run)
            if all(name in differences for name in self.components):
                gaps[replicate_of(run)] = statistics.fmean(
                    abs(differences[name]) for name in self.components
                )
        return gaps

    def noise_floor(self) -> dict[ReplicateKey, float]:
        """The same of each retrained model against the others of its replicate."""
        floor = {}
        for replicate, at in self._selection.main.items():
            draws = [self._draws.get((at, name), []) for name in self.components]
            if min(len(values) for values in draws) > 1:
                floor[replicate] = statistics.fmean(
                    statistics.fmean(retrain_noise(values)) for values in draws
                )
        return floor

    def discriminates(self) -> bool | None:
        """Whether original and retrained models differ clearly where a method must tell them apart.

        That is in forget accuracy and in the named attack; none with fewer than three replicates.
        """
        differences = [self.differences(run) for run in runs_of(self.rows, ORIGINAL)]
        named = [self.components[0], self.components[-1]]
        samples = [[d[name] for d in differences if name in d] for name in named]
        if min(len(sample) for sample in samples) < 3:
            return None
        return all(exceeds_noise(sample) for sample in samples)

    def standing(self, key: str, label: str, rank: int | None) -> Standing:
        """One row of the table."""
        row = self.rows[key]
        method = row[0].method
        faulty = sum(run.status != FINISHED for run in row)
        gap = self.noise_floor() if method == RETRAIN else self.gaps(row)
        made = [run for run in row if run.status != FAILED]
        seconds = [sum(r.cost.seconds.values()) for r in made if hardware_of(r) == self.hardware]
        passes = [run.cost.passes for run in made]
        behind = self._selection.behind(made)
        spent = [r.cost.passes for r in behind]
        tuned = [row[-1].tuning_passes] if row[-1].tuning_passes else []
        retrain_here = [r for r in behind if hardware_of(r) == self.hardware]
        return Standing(
            label=label,
            method=method,
            config=row[0].config,
            rank=rank,
            gap=summarise(list(gap.values())) if gap and not faulty else None,
            metrics=_summaries(row, self._finite),
            differences={} if method == RETRAIN else _summaries(row, self.differences),
            notes=self._notes(row),
            seconds=summarise(seconds) if seconds else None,
            seconds_share=share_of(seconds, [sum(r.cost.seconds.values()) for r in retrain_here]),
            passes=summarise(passes) if passes else None,
            passes_share=share_of(passes, spent),
            replicates=len({replicate_of(run) for run in row}),
            runs=len(row),
            diverged=sum(run.status == DIVERGED for run in row),
            changed=sum(run.status == CHANGED for run in row),
            failed=len(row) - len(made),
            reasons=tuple(sorted({run.reason for run in row if run.reason})),
            elsewhere=self._selection.elsewhere(row),
            earlier=self._selection.earlier.get(method, ""),
            stored=any(STORED in run.cost.seconds for run in row),
            chosen=row[-1].chosen,
            tuning_share=share_of(tuned, spent),
        )

    def _notes(self, row: Sequence[Run]) -> dict[str, str]:
        found = (pair for run in row for pair in self._values.get(identity_of(run), {}).items())
        return {name: estimate.note for name, estimate in found if estimate.value is None}


def _summaries(row: Sequence[Run], read: Any) -> dict[str, Summary]:
    """Over replicates; the draws of one replicate are averaged first."""
    by_metric: dict[str, dict[ReplicateKey, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in row:
        for name, value in read(run).items():
            by_metric[name][replicate_of(run)].append(value)
    return {
        name: summarise([statistics.fmean(values) for values in by_replicate.values()])
        for name, by_replicate in by_metric.items()
    }


def _order(standing: Standing) -> tuple[int, bool, float, str]:
    first = REFERENCES.index(standing.method) if standing.method in REFERENCES else 2
    mean = standing.gap.mean if standing.gap else float("inf")
    return first, standing.rank is None, mean, standing.label
