"""From published lines to the numbers of a scenario's table: gaps, ranks, costs. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from harness.leaderboard.entries import BY_HAND, Entry, Field, admit, fault_of
from harness.leaderboard.keys import (
    ReplicateKey,
    age,
    commonest_hardware,
    hardware_of,
    labels,
    replicate_of,
    runs_of,
    share_of,
    values_of,
)
from harness.leaderboard.ranks import Rank, rank_sets, smallest_ratio
from harness.leaderboard.selection import ReferenceSet, Selection, select, set_of
from harness.leaderboard.spread import (
    FEWEST_REPLICATES,
    Summary,
    exceeds_noise,
    retrain_noise,
    summarise,
)
from harness.leaderboard.table import Standing, Table
from harness.records.lines import (
    CHANGED,
    DIVERGED,
    FAILED,
    FINISHED,
    Line,
    Measurement,
    Run,
    Undefined,
    identity_of,
    merge,
)
from harness.specs.protocol import STORED, Estimate
from harness.specs.scenario import ORIGINAL, REFERENCES, RETRAIN

ACCURACIES = ("accuracy.forget", "accuracy.retain", "accuracy.test")


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
        elif isinstance(line, Run):
            by_scenario[line.scenario.name].append(line)
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
    components = (*ACCURACIES, newest.scenario.mia)
    view = _View(selection, values, components, commonest_hardware(kept))
    field = admit([view.entry(key) for key in rows if rows[key][0].method not in REFERENCES])
    discriminates = view.discriminates(field.replicates or selection.main)
    obstacle = _obstacle(view.unmeasured(), discriminates)
    ranks = {} if obstacle else rank_sets(field.gaps)
    names = labels(rows)
    standings = [view.standing(key, names[key], ranks.get(key), field, obstacle) for key in rows]
    return Table(
        scenario=newest.scenario,
        basis=newest.basis,
        standings=tuple(sorted(standings, key=_order)),
        components=components,
        obstacle=obstacle,
        discriminates=discriminates,
        ranked=len(ranks),
        replicates=tuple(sorted(field.replicates)),
        smallest_ratio=None if obstacle else smallest_ratio(field.gaps),
        tuned=any(standing.chosen not in ("", BY_HAND) for standing in standings),
        gaps={names[key]: gap for key, gap in field.gaps.items()},
        hardware=view.hardware,
        runs=kept,
        left_out=len(runs) - len(kept),
        remarks=selection.remarks,
        undefined={name: why for name, why in undefined.items() if name not in present},
        outdated=outdated,
    )


def _obstacle(unmeasured: Sequence[str], discriminates: bool | None) -> str:  # noqa: FBT001
    """Why nothing may be ranked, whatever the rows."""
    if unmeasured:
        names = ", ".join(f"`{name}`" for name in unmeasured)
        return f"{names}, which counts in the gap, was not measured"
    if discriminates is None:
        return f"fewer than {FEWEST_REPLICATES} replicates have original and retrained models"
    return "" if discriminates else "this scenario does not discriminate"


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
        draws: dict[tuple[ReferenceSet, str], list[float]] = defaultdict(list)
        for at, runs in selection.retrained.items():
            for run in runs:
                for metric, value in self._finite(run).items():
                    draws[at, metric].append(value)
        self._draws = draws
        self._means = {key: statistics.fmean(values) for key, values in draws.items()}

    def _finite(self, run: Run) -> dict[str, float]:
        estimates = self._values.get(identity_of(run), {})
        return {name: e.value for name, e in estimates.items() if e.value is not None}

    def differences(self, run: Run) -> dict[str, float]:
        """Metric → the run's value less the mean of the retrained models that it names."""
        at = set_of(run)
        return {
            name: value - self._means[at, name]
            for name, value in self._finite(run).items()
            if (at, name) in self._means
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

    def unmeasured(self) -> list[str]:
        """The components without a value in any run."""
        every = (run for row in self.rows.values() for run in row)
        measured = {name for run in every for name in self._finite(run)}
        return [name for name in self.components if name not in measured]

    def discriminates(self, replicates: Collection[ReplicateKey]) -> bool | None:
        """Whether original and retrained models differ clearly where a method must tell them apart.

        That is in forget accuracy and in the named attack, over these replicates alone, so that no
        other row's do away with a page's ranks; none with fewer than three.
        """
        originals = [run for run in runs_of(self.rows, ORIGINAL) if replicate_of(run) in replicates]
        differences = [self.differences(run) for run in originals]
        named = [self.components[0], self.components[-1]]
        samples = [[d[name] for d in differences if name in d] for name in named]
        if min(len(sample) for sample in samples) < FEWEST_REPLICATES:
            return None
        return all(exceeds_noise(sample) for sample in samples)

    def entry(self, key: str) -> Entry:
        """What decides whether a row enters the ranks."""
        row = self.rows[key]
        return Entry(
            key=key,
            method=row[0].method,
            chosen=_settled(row).chosen,
            made=frozenset(replicate_of(run) for run in row),
            gaps=self.gaps(row),
            fault=fault_of(row),
            age=max(age(run) for run in row),
        )

    def standing(
        self, key: str, label: str, rank: Rank | None, field: Field, obstacle: str
    ) -> Standing:
        """One row of the table; of one that enters the ranks only the page's own replicates."""
        row, every = self.rows[key], self.rows[key]
        if key in field.gaps:
            row = [run for run in every if replicate_of(run) in field.replicates]
        method = row[0].method
        made = [run for run in row if run.status != FAILED]
        seconds, passes = self._seconds(made), [run.cost.passes for run in made]
        behind = self._selection.behind(made)
        spent = [run.cost.passes for run in behind]
        settled, faulty = _settled(every), any(run.status != FINISHED for run in every)
        tuned = [settled.tuning_passes] if settled.tuning_passes else []
        gap = self._gap(row)
        return Standing(
            label=label,
            method=method,
            config=row[0].config,
            rank=rank,
            unranked="" if method in REFERENCES else field.reasons.get(key, obstacle),
            gap=None if faulty else gap,
            survivors=gap if faulty else None,
            metrics=_summaries(row, self._finite),
            differences={} if method == RETRAIN else _summaries(row, self.differences),
            notes=self._notes(row),
            seconds=summarise(seconds) if seconds else None,
            seconds_share=share_of(seconds, self._seconds(behind)),
            passes=summarise(passes) if passes else None,
            passes_share=share_of(passes, spent),
            replicates=len({replicate_of(run) for run in every}),
            runs=len(every),
            diverged=sum(run.status == DIVERGED for run in every),
            changed=sum(run.status == CHANGED for run in every),
            failed=sum(run.status == FAILED for run in every),
            elsewhere=self._selection.elsewhere(row),
            earlier=self._selection.earlier.get(method, ""),
            stored=any(STORED in run.cost.seconds for run in row),
            chosen=settled.chosen,
            tuning_share=share_of(tuned, spent),
        )

    def _gap(self, row: Sequence[Run]) -> Summary | None:
        """Over the finished runs; of the retrained models the noise floor."""
        finished = [run for run in row if run.status == FINISHED]
        gaps = self.noise_floor() if row[0].method == RETRAIN else self.gaps(finished)
        return summarise(list(gaps.values())) if gaps else None

    def _seconds(self, runs: Iterable[Run]) -> list[float]:
        """Of those on the table's hardware."""
        return [sum(r.cost.seconds.values()) for r in runs if hardware_of(r) == self.hardware]

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


def _settled(row: Sequence[Run]) -> Run:
    """The newest run; but one whose settings were set by hand only where all were."""
    return max(row, key=lambda run: (run.chosen != BY_HAND, age(run)))


def _order(standing: Standing) -> tuple[int, bool, float, str]:
    first = REFERENCES.index(standing.method) if standing.method in REFERENCES else 2
    gap = standing.gap or standing.survivors
    return first, standing.rank is None, gap.mean if gap else float("inf"), standing.label
