"""From published lines to the numbers of a scenario's table: gaps, ranks, costs. Pure."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.evidence import Estimate
from harness.records import DIVERGED, Line, Measurement, Run, canonical
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

ReplicateKey = Hashable
"""(seed, forget seed)."""


@dataclass(frozen=True)
class Standing:
    """One row of a table: a method with its settings, at its newest source."""

    label: str
    method: str
    config: Mapping[str, Any]
    rank: int | None
    gap: Summary | None
    """In percentage points; of the row ``retrain`` it is the noise floor."""
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
    passes: Summary
    passes_share: float | None
    replicates: int
    diverged: int


@dataclass(frozen=True)
class Table:
    """All that a scenario's page shows."""

    scenario: Mapping[str, Any]
    standings: tuple[Standing, ...]
    """The references first, then by rank and gap."""
    components: tuple[str, ...]
    """The metrics that the average gap is made of."""
    discriminates: bool | None
    """None where too few replicates tell; then nothing is ranked either."""
    detectable: float | None
    """The smallest difference of two gaps that this table could call significant."""
    hardware: str
    runs: tuple[Run, ...]
    left_out: int
    """Runs of an earlier definition of the scenario, or of an earlier source of a method."""


def tables(lines: Iterable[Line]) -> list[Table]:
    """One table a scenario, by name."""
    values: dict[str, dict[str, Estimate]] = defaultdict(dict)
    by_scenario: dict[str, list[Run]] = defaultdict(list)
    for line in lines:
        if isinstance(line, Measurement):
            for metric, estimate in line.estimates.items():
                values[line.run_id][f"{line.protocol}.{metric}"] = estimate
        else:
            by_scenario[line.scenario["name"]].append(line)
    return [_table(by_scenario[name], values) for name in sorted(by_scenario)]


def _table(runs: Sequence[Run], values: Mapping[str, Mapping[str, Estimate]]) -> Table:
    newest = max(runs, key=_finished)
    current = [run for run in runs if _problem(run) == _problem(newest)]
    rows = _rows(current)
    kept = tuple(run for row in rows.values() for run in row)
    components = (*ACCURACIES, newest.scenario["mia"])
    view = _View(rows, values, components, _hardware(kept))
    gaps: dict[str, Mapping[ReplicateKey, float]] = {
        key: gap
        for key, row in rows.items()
        if row[0].method not in REFERENCES
        and not any(run.status == DIVERGED for run in row)
        and (gap := view.gaps(row))
    }
    discriminates = view.discriminates()
    rank = ranks(gaps) if discriminates else {}
    labels = _labels(rows)
    standings = [view.standing(key, labels[key], rank.get(key)) for key in rows]
    return Table(
        scenario=newest.scenario,
        standings=tuple(sorted(standings, key=_order)),
        components=components,
        discriminates=discriminates,
        detectable=smallest_difference(gaps),
        hardware=view.hardware,
        runs=kept,
        left_out=len(runs) - len(kept),
    )


class _View:
    """The rows of one table beside its retrained models."""

    def __init__(
        self,
        rows: Mapping[str, Sequence[Run]],
        values: Mapping[str, Mapping[str, Estimate]],
        components: tuple[str, ...],
        hardware: str,
    ) -> None:
        self.rows, self._values, self.components = rows, values, components
        self.hardware = hardware
        self._retrained = _of(rows, RETRAIN)
        self._draws: dict[tuple[ReplicateKey, str], list[float]] = defaultdict(list)
        for run in self._retrained:
            for metric, value in self._finite(run).items():
                self._draws[_replicate(run), metric].append(value)

    def _finite(self, run: Run) -> dict[str, float]:
        estimates = self._values.get(run.run_id, {})
        return {name: e.value for name, e in estimates.items() if e.value is not None}

    def differences(self, run: Run) -> dict[str, float]:
        """Metric → the run's value less the mean of its replicate's retrained models."""
        at = _replicate(run)
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
                gaps[_replicate(run)] = statistics.fmean(
                    abs(differences[name]) for name in self.components
                )
        return gaps

    def noise_floor(self) -> dict[ReplicateKey, float]:
        """The same of each retrained model against the others of its replicate."""
        floor = {}
        for at in {_replicate(run) for run in self._retrained}:
            draws = [self._draws.get((at, name), []) for name in self.components]
            if min(len(values) for values in draws) > 1:
                floor[at] = statistics.fmean(
                    statistics.fmean(retrain_noise(values)) for values in draws
                )
        return floor

    def discriminates(self) -> bool | None:
        """Whether original and retrained models differ clearly where a method must tell them apart.

        That is in forget accuracy and in the named attack; none with fewer than three replicates.
        """
        differences = [self.differences(run) for run in _of(self.rows, ORIGINAL)]
        named = [self.components[0], self.components[-1]]
        samples = [[d[name] for d in differences if name in d] for name in named]
        if min(len(sample) for sample in samples) < 3:
            return None
        return all(exceeds_noise(sample) for sample in samples)

    def standing(self, key: str, label: str, rank: int | None) -> Standing:
        """One row of the table."""
        row = self.rows[key]
        method = row[0].method
        gap = self.noise_floor() if method == RETRAIN else self.gaps(row)
        here = [run for run in row if _hardware_of(run) == self.hardware]
        seconds = [sum(run.cost.seconds.values()) for run in here]
        passes = [run.cost.passes for run in row]
        retrain_here = [r for r in self._retrained if _hardware_of(r) == self.hardware]
        return Standing(
            label=label,
            method=method,
            config=row[0].config,
            rank=rank,
            gap=summarise(list(gap.values())) if gap else None,
            metrics=_summaries(row, self._finite),
            differences={} if method == RETRAIN else _summaries(row, self.differences),
            notes=self._notes(row),
            seconds=summarise(seconds) if seconds else None,
            seconds_share=_share(seconds, [sum(r.cost.seconds.values()) for r in retrain_here]),
            passes=summarise(passes),
            passes_share=_share(passes, [r.cost.passes for r in self._retrained]),
            replicates=len({_replicate(run) for run in row}),
            diverged=sum(run.status == DIVERGED for run in row),
        )

    def _notes(self, row: Sequence[Run]) -> dict[str, str]:
        return {
            name: estimate.note
            for run in row
            for name, estimate in self._values.get(run.run_id, {}).items()
            if estimate.value is None
        }


def _summaries(row: Sequence[Run], read: Any) -> dict[str, Summary]:
    """Over replicates; the draws of one replicate are averaged first."""
    by_metric: dict[str, dict[ReplicateKey, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in row:
        for name, value in read(run).items():
            by_metric[name][_replicate(run)].append(value)
    return {
        name: summarise([statistics.fmean(values) for values in by_replicate.values()])
        for name, by_replicate in by_metric.items()
    }


def _rows(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """(method, config) → its runs at its newest source."""
    grouped: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        grouped[canonical([run.method, run.config])].append(run)
    rows = {}
    for key, group in sorted(grouped.items()):
        source = max(group, key=_finished).source
        rows[key] = [run for run in group if run.source == source]
    return rows


def _labels(rows: Mapping[str, Sequence[Run]]) -> dict[str, str]:
    """The method's name; where it has several rows, with the settings in which these differ."""
    count = Counter(row[0].method for row in rows.values())
    labels = {}
    for key, row in rows.items():
        method, config = row[0].method, row[0].config
        labels[key] = method
        if count[method] > 1:
            others = [r[0].config for r in rows.values() if r[0].method == method]
            odd = [name for name in config if len({str(o.get(name)) for o in others}) > 1]
            labels[key] += f" ({', '.join(f'{name}={config[name]}' for name in odd)})"
    return labels


def _of(rows: Mapping[str, Sequence[Run]], method: str) -> list[Run]:
    return [run for row in rows.values() for run in row if run.method == method]


def _order(standing: Standing) -> tuple[int, int, float, str]:
    first = REFERENCES.index(standing.method) if standing.method in REFERENCES else 2
    mean = standing.gap.mean if standing.gap else float("inf")
    return first, standing.rank or 10**6, mean, standing.label


def _share(values: Sequence[float], retrained: Sequence[float]) -> float | None:
    if not values or not retrained or not statistics.fmean(retrained):
        return None
    return statistics.fmean(values) / statistics.fmean(retrained)


def _hardware(runs: Iterable[Run]) -> str:
    """The hardware of most runs; seconds of any other are not shown beside its."""
    return Counter(_hardware_of(run) for run in runs).most_common(1)[0][0]


def _hardware_of(run: Run) -> str:
    facts = run.circumstances
    threads = f", {facts['threads']} thread(s) a process" if facts["device"] == "cpu" else ""
    return f"{facts['hardware']} ({facts['device']}{threads})"


def _finished(run: Run) -> str:
    return str(run.circumstances["finished"])


def _replicate(run: Run) -> ReplicateKey:
    return run.replicate["seed"], run.replicate["forget_seed"]


def _problem(run: Run) -> str:
    rendering_only = ("mia", "replicates")
    return canonical({k: v for k, v in run.scenario.items() if k not in rendering_only})
