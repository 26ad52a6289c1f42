"""Average gaps: how far a run lies from the retrained models that it was measured against. Pure."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from harness.leaderboard.clusters import independent, mean_error
from harness.leaderboard.grouping import ReferenceSet, ReplicateKey, replicate_of, set_of
from harness.leaderboard.pools import pools_that_count
from harness.records.lines import Definition, Line, Measurement, Run, identity_of
from harness.specs.protocol import Estimate, Metric
from harness.specs.score_summary import ScoreSummary

ACCURACIES = ("accuracy.forget", "accuracy.retain", "accuracy.test")
FEWEST_REPLICATES = 3
"""With fewer, nobody can tell whether a scenario discriminates."""
DECIMALS = 9
"""Differences of percentage points are rounded to these: what lies below is float64's own noise."""

RunKey = tuple[str, str]
"""A run's ``identity_of``."""
Definitions = Mapping[tuple[str, int], Sequence[Metric]]
"""Protocol and version → its metrics."""


def measured_by_run(lines: Iterable[Line]) -> dict[RunKey, list[Measurement]]:
    """Run → its measurements."""
    found: dict[RunKey, list[Measurement]] = defaultdict(list)
    for line in lines:
        if isinstance(line, Measurement):
            found[identity_of(line)].append(line)
    return found


def definitions_of(lines: Iterable[Line]) -> Definitions:
    """What the lines say of each version of a protocol."""
    return {
        (line.protocol, line.version): line.metrics
        for line in lines
        if isinstance(line, Definition)
    }


def components_of(run: Run) -> tuple[str, ...]:
    """The metrics that the average gap is made of: three accuracies, and the scenario's attack."""
    return (*ACCURACIES, run.scenario.mia)


class Estimates:
    """What was measured on some runs, by the version and with the pool that count.

    These are the highest version of a protocol among the runs, and the largest pool of that.
    """

    def __init__(
        self,
        runs: Iterable[Run],
        measured: Mapping[RunKey, Sequence[Measurement]],
        definitions: Definitions,
    ) -> None:
        lines = [line for run in runs for line in measured.get(identity_of(run), ())]
        versions: dict[str, int] = {}
        for line in lines:
            versions[line.protocol] = max(line.version, versions.get(line.protocol, line.version))
        metrics = {name: definitions.get((name, versions[name]), ()) for name in versions}
        newest = [line for line in lines if line.version == versions[line.protocol]]
        self._versions = versions
        self.pools = pools_that_count(newest)
        """Protocol → the pool that counts."""
        self.definitions = {f"{name}.{m.name}": m for name, found in metrics.items() for m in found}
        """``protocol.metric`` → what it means, as far as the records tell."""
        self.outdated = _protocols(x for x in lines if x.version != versions[x.protocol])
        """Protocols by whose earlier version some run was measured; those numbers do not count."""
        self.with_other_pools = _protocols(x for x in newest if not self.is_current(x))
        """Protocols with which some run was measured on another pool; nor do these numbers."""
        self._by_run: dict[RunKey, dict[str, Estimate]] = defaultdict(dict)
        self._scores: dict[RunKey, dict[str, ScoreSummary]] = defaultdict(dict)
        for line in filter(self.is_current, lines):
            if line.scores is not None:
                self._scores[identity_of(line)][line.protocol] = line.scores
            for name, estimate in line.estimates.items():
                self._by_run[identity_of(line)][f"{line.protocol}.{name}"] = estimate

    def is_current(self, line: Measurement) -> bool:
        """Whether the measurement is by the version, and with the pool, that count."""
        if line.version != self._versions.get(line.protocol):
            return False
        return line.pool == self.pools.get(line.protocol)

    def is_shared(self, name: str) -> bool:
        """Whether all replicates of a method share one value of this ``protocol.metric``."""
        return name in self.definitions and self.definitions[name].shared

    def of(self, run: Run) -> Mapping[str, Estimate]:
        """``protocol.metric`` → estimate, with a value or without."""
        return self._by_run.get(identity_of(run), {})

    def values(self, run: Run) -> dict[str, float]:
        """``protocol.metric`` → value, where there is one."""
        return {name: e.value for name, e in self.of(run).items() if e.value is not None}

    def scores(self, run: Run) -> Mapping[str, ScoreSummary]:
        """Protocol → its summary of the scores, where it has one."""
        return self._scores.get(identity_of(run), {})


class Comparison:
    """Runs beside the retrained models that they name."""

    def __init__(
        self,
        estimates: Estimates,
        retrained: Mapping[ReferenceSet, Sequence[Run]],
        components: tuple[str, ...],
    ) -> None:
        self.estimates = estimates
        self.components = components
        """The metrics that the average gap is made of."""
        self._draws: dict[tuple[ReferenceSet, str], list[float]] = defaultdict(list)
        for at, runs in retrained.items():
            for run in runs:
                for name, value in estimates.values(run).items():
                    self._draws[at, name].append(value)
        self._means = {key: statistics.fmean(values) for key, values in self._draws.items()}

    def differences(self, run: Run) -> dict[str, float]:
        """Metric → the run's value less the mean of the retrained models that it names."""
        at = set_of(run)
        return {
            name: value - self._means[at, name]
            for name, value in self.estimates.values(run).items()
            if (at, name) in self._means
        }

    def gap(self, run: Run) -> float | None:
        """The mean distance over all components; none where one was not measured."""
        differences = self.differences(run)
        if not all(name in differences for name in self.components):
            return None
        return statistics.fmean(abs(differences[name]) for name in self.components)

    def gaps(self, runs: Iterable[Run]) -> dict[ReplicateKey, float]:
        """Replicate → average gap, where there is one."""
        found = {replicate_of(run): self.gap(run) for run in runs}
        return {at: gap for at, gap in found.items() if gap is not None}

    def noise_floor(self, main: Mapping[ReplicateKey, ReferenceSet]) -> dict[ReplicateKey, float]:
        """Replicate → the average gap of each retrained model to the others of its set."""
        floor = {}
        for replicate, at in main.items():
            draws = [self._draws.get((at, name), []) for name in self.components]
            if min(len(values) for values in draws) > 1:
                floor[replicate] = statistics.fmean(
                    statistics.fmean(retrain_noise(values)) for values in draws
                )
        return floor

    def unmeasured(self, runs: Iterable[Run]) -> tuple[str, ...]:
        """The components that have no value in any of these runs."""
        measured = {name for run in runs for name in self.estimates.values(run)}
        return tuple(name for name in self.components if name not in measured)

    def discriminates(self, originals: Iterable[Run]) -> bool | None:
        """Whether these originals clearly differ from the retrained models.

        They must in forget accuracy and in the attack that counts in the gap: there a method has to
        move the model. An attack's score may be higher or lower for what was learned: the SVC's is
        the share that it calls non-members. None with fewer than three replicates, or fewer than
        three models or forget sets in them.
        """
        differences = {replicate_of(run): self.differences(run) for run in originals}
        forget, attack = (
            {at: found[name] for at, found in differences.items() if name in found}
            for name in (self.components[0], self.components[-1])
        )
        if min(independent(sample) for sample in (forget, attack)) < FEWEST_REPLICATES:
            return None
        opposite = {at: -difference for at, difference in attack.items()}
        return exceeds_noise(forget) and (exceeds_noise(attack) or exceeds_noise(opposite))


def _protocols(lines: Iterable[Measurement]) -> tuple[str, ...]:
    return tuple(sorted({line.protocol for line in lines}))


def retrain_noise(values: Sequence[float]) -> list[float]:
    """How far another retrained model would lie from the mean of the K, estimated from each.

    Each value's distance from the mean of the other K - 1 has the variance σ²K / (K - 1); another
    model's distance from the mean of all K has σ²(K + 1) / K. Hence the factor √((K² - 1) / K²).
    Raises ValueError for fewer than two values.
    """
    k = len(values)
    if k < 2:
        raise ValueError(f"the noise of retraining needs at least two models; got {k}")
    factor = math.sqrt(k * k - 1) / k
    others = [math.fsum((*values[:i], *values[i + 1 :])) / (k - 1) for i in range(k)]
    return [abs(value - other) * factor for value, other in zip(values, others, strict=True)]


def exceeds_noise(differences: Mapping[ReplicateKey, float]) -> bool:
    """Whether the mean exceeds three standard errors.

    It never does with fewer than three models or forget sets. The differences are original - mean
    of the K retrained models, in percentage points.
    """
    values = np.array([*differences.values()], dtype=np.float64).round(DECIMALS)
    found = mean_error(values, [*differences])
    if found is None or independent(differences) < FEWEST_REPLICATES:
        return False
    error = float(found.error) if np.ptp(values) else 0.0  # exactly 0 for equal values
    return bool(values.mean() > 3 * error)
