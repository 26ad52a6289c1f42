"""The rows of a table: which runs belong together, which are out of date, what a row is called."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from harness.records.lines import Basis, Measurement, Run, canonical, identity_of, plain
from harness.specs.protocol import Estimate
from harness.specs.scenario import Scenario

ReplicateKey = tuple[int, int]
"""(seed, forget seed)."""


def row_of(run: Run) -> str:
    """The name of its row: method and settings, with 1 for 1.0."""
    return json.dumps([run.method, _comparable(run.config)], sort_keys=True)


def labels(rows: Mapping[str, Sequence[Run]]) -> dict[str, str]:
    """The method's name; where it has several rows, with the settings in which these differ."""
    counts: Counter[tuple[str, str, str]] = Counter()
    of_method = Counter(row[0].method for row in rows.values())
    settings = {key: _settings(row[0]) for key, row in rows.items()}
    for key, row in rows.items():
        counts.update((row[0].method, name, text) for name, text in settings[key].items())
    found = {}
    for key, row in rows.items():
        run = row[0]
        odd = [
            f"{name}={run.config[name]}"
            for name, text in settings[key].items()
            if counts[run.method, name, text] < of_method[run.method]
        ]
        found[key] = f"{run.method} ({', '.join(odd)})" if odd else run.method
    return found


def _settings(run: Run) -> dict[str, str]:
    """Setting → value, the same text for equal ones."""
    return {name: canonical(_comparable([value])) for name, value in run.config.items()}


def runs_of(rows: Mapping[str, Sequence[Run]], method: str) -> list[Run]:
    """All runs of a method, whatever its settings."""
    return [run for row in rows.values() for run in row if run.method == method]


def share_of(values: Sequence[float], retrained: Sequence[float]) -> float | None:
    """The mean of the values over that of the retrained models; none where either lacks."""
    if not values or not retrained or not statistics.fmean(retrained):
        return None
    return statistics.fmean(values) / statistics.fmean(retrained)


def age(run: Run) -> tuple[str, str]:
    """The greater, the newer."""
    return str(run.circumstances["finished"]), run.run_id


def replicate_of(run: Run) -> ReplicateKey:
    """The replicate that a run belongs to."""
    return run.replicate.seed, run.replicate.forget_seed


def problem_of(run: Run) -> str:
    """What two runs must have in common to stand in one table."""
    return _problem(run.scenario, run.basis)


@lru_cache(maxsize=256)
def _problem(scenario: Scenario, basis: Basis) -> str:
    own = {**plain(scenario), "data": basis.data, "build": basis.build, "code": basis.code}
    return canonical({name: own[name] for name in own if name not in ("mia", "replicates")})


def _comparable(value: Any) -> Any:
    """The same with 1 for 1.0, so that equal settings are one row."""
    if isinstance(value, Mapping):
        return {name: _comparable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_comparable(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def commonest_hardware(runs: Iterable[Run]) -> str:
    """The hardware of most runs; seconds of any other are not shown beside its."""
    return Counter(hardware_of(run) for run in runs).most_common(1)[0][0]


def hardware_of(run: Run) -> str:
    """As a page names it; of a CPU with the instructions that torch may use of it."""
    facts = run.circumstances
    about = [facts["device"]]
    if facts["device"] == "cpu":
        about += [facts["capability"]] if "capability" in facts else []
        about.append(f"{facts['threads']} thread(s) a process")
    return f"{facts['hardware']} ({', '.join(about)})"


def values_of(
    runs: Iterable[Run], measured: Mapping[tuple[str, str], Sequence[Measurement]]
) -> tuple[dict[tuple[str, str], dict[str, Estimate]], tuple[str, ...]]:
    """Run → metric → estimate, by each protocol's highest version; and who has earlier ones too."""
    values: dict[tuple[str, str], dict[str, Estimate]] = {}
    own = [line for run in runs for line in measured.get(identity_of(run), ())]
    highest: dict[str, int] = {}
    for line in own:
        highest[line.protocol] = max(line.version, highest.get(line.protocol, line.version))
    outdated = {line.protocol for line in own if line.version < highest[line.protocol]}
    for line in own:
        if line.version == highest[line.protocol]:
            named = {f"{line.protocol}.{name}": e for name, e in line.estimates.items()}
            values.setdefault(identity_of(line), {}).update(named)
    return values, tuple(sorted(outdated))
