"""Lines of records, the identity hash of each run, and merging of lines."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

from harness.specs.checks import NOT_NEGATIVE, OneOf, Text, Whole, settle
from harness.specs.evidence import Cost
from harness.specs.names import check_name
from harness.specs.protocol import Estimate, Metric
from harness.specs.published import Published
from harness.specs.recorded_rule import RecordedRule
from harness.specs.scenario import PAGE_ONLY, Replicate, Scenario
from harness.specs.score_summary import ScoreSummary

FINISHED, DIVERGED, CHANGED = "finished", "diverged", "changed architecture"
FAILED = "failed"
"""The method raised an error, was killed, hung or ran out of time, and left no model."""
STATUSES = (FINISHED, DIVERGED, CHANGED, FAILED)


BY_HAND = "by hand"
"""How settings were chosen that came by ``--set``."""


@dataclass(frozen=True)
class Basis:
    """What a run depends on besides its scenario; runs with different bases share no table.

    ``class_name`` is the exception: it only informs readers, and separates no runs.
    """

    data: str
    """The hash of the images and labels."""
    build: str = ""
    """The backbone's name, followed by its source hash if a plugin provides it."""
    code: int = 0
    """The version of the harness's numbers: ``harness.version.CODE``."""
    class_name: str = ""
    """The name of the forgotten class, if the data set names its classes."""


@dataclass(frozen=True)
class Run:
    """One model, and the request that produced it."""

    run_id: str
    """The hash of the request; protocols are not part of it."""
    scenario: Scenario
    basis: Basis
    replicate: Replicate
    method: str
    config: Mapping[str, Any]
    draw: int
    """The number of a retrained model among the K; 0 for every other method."""
    source: str
    """The hash of the method's source; empty for the two references."""
    status: str
    circumstances: Mapping[str, Any]
    """Device, packages, commit and time of completion."""
    cost: Cost
    chosen: str = ""
    """How the settings were chosen; empty for the method's defaults."""
    tuning_passes: float = 0.0
    """The total passes of all trials of the method's tuning."""
    digest: str = ""
    """The digest of its train and test logits: 20 hexadecimal digits; empty if it has none."""
    original: str = ""
    """The digest of the original model's logits."""
    retrained: tuple[str, ...] = ()
    """The digests of the K retrained models that the run is measured against, including its own
    if the run itself is a retrained model."""
    reason: str = ""
    """Why the status is not FINISHED, in one line."""
    idle: tuple[str, ...] = ()
    """The settings in ``config`` that have no part in the scenario; pages do not list them."""

    def __post_init__(self) -> None:
        check_name("method", self.method)
        settle(self, "run", draw=Whole(0), status=OneOf(STATUSES), tuning_passes=NOT_NEGATIVE)

    @cached_property
    def outcome(self) -> str:
        """The hash of the results of this run and its references; empty for lines without digests.

        Runs with one ``run_id`` and different outcomes come from machines that compute differently.
        """
        return outcome_of(self.digest, self.original, self.retrained)


def outcome_of(digest: str, original: str, retrained: Iterable[str]) -> str:
    """20 hexadecimal digits over the digests of a run and of its references."""
    digests = [digest, original, *retrained]
    return identity(digests) if any(digests) else ""


@dataclass(frozen=True)
class Pool:
    """The further models that a measurement used."""

    size: int
    """How many: K reference models, or the N of each ensemble."""
    digest: str
    """Of their logits: 20 hexadecimal digits."""

    def __post_init__(self) -> None:
        settle(self, "pool", size=Whole(1), digest=Text())


@dataclass(frozen=True)
class Measurement:
    """One protocol's numbers on one run."""

    run_id: str
    protocol: str
    version: int
    estimates: Mapping[str, Estimate]
    outcome: str = ""
    """The outcome of the measured run."""
    pool: Pool | None = None
    """The reference models that it was measured with, if it needs any."""
    scores: ScoreSummary | None = None
    """The attack's scores, if the protocol summarises them."""

    def __post_init__(self) -> None:
        check_name("protocol", self.protocol)
        settle(self, "measurement", version=Whole(0))


@dataclass(frozen=True)
class Undefined:
    """A method that cannot run in a scenario, and why."""

    scenario: str
    method: str
    reason: str

    def __post_init__(self) -> None:
        check_name("scenario", self.scenario)
        check_name("method", self.method)


@dataclass(frozen=True)
class Definition:
    """What the metrics of one version of a protocol mean, for readers without the protocol."""

    protocol: str
    version: int
    metrics: tuple[Metric, ...]

    def __post_init__(self) -> None:
        check_name("protocol", self.protocol)
        settle(self, "definition", version=Whole(0))


Line = Run | Measurement | Undefined | Definition | Published


def identity(asked: Any) -> str:
    """The hash that identifies a request: 20 hexadecimal digits, the same on every machine."""
    return hashlib.sha256(canonical(asked).encode()).hexdigest()[:20]


def canonical(value: Any) -> str:
    """JSON with sorted keys and without spaces; each dataclass includes its class name."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: Any) -> Any:
    """Converts dataclasses, tuples and mappings to JSON types.

    A field that was added after its class (``metadata={"later": True}``) is omitted at its default,
    so that earlier requests keep their identities.

    Raises TypeError for a value that has no exact JSON form.
    """
    if isinstance(value, RecordedRule):
        return value.asked()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"is": type(value).__name__, **_fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [plain(item) for item in value]
        return sorted(items) if isinstance(value, set | frozenset) else items
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    raise TypeError(f"{value!r} of type {type(value).__name__} has no JSON form")


def _fields(spec: Any) -> dict[str, Any]:
    return {name: plain(getattr(spec, name)) for name in present(spec)}


def settings_of(config: Any) -> dict[str, Any]:
    """A method's config as a record has it, like its identity without later fields at default."""
    values = dataclasses.asdict(config)
    return {name: values[name] for name in present(config)}


def present(spec: Any) -> list[str]:
    """The names of a spec's fields, without later additions at their defaults."""
    cls: Any = type(spec)
    names, later = _declared(cls)
    return [name for name in names if name not in later or getattr(spec, name) != later[name]]


@cache
def _declared(cls: Any) -> tuple[list[str], Mapping[str, Any]]:
    """The names of a class's fields, and later addition → its default."""
    fields = dataclasses.fields(cls)
    later = {each.name: each.default for each in fields if each.metadata.get("later")}
    return [each.name for each in fields], later


def merge(*sources: Iterable[Line]) -> list[Line]:
    """All lines, sorted; of two lines with one identity, the line from the later source wins.

    There are three exceptions, whatever the source: the higher version of a protocol wins, and of
    one version the larger pool; and a failed run loses to any other status of that run.
    """
    by_key: dict[tuple[str, ...], Line] = {}
    for source in sources:
        for line in source:
            present = by_key.get(_key(line))
            if present is None or _precedence(line) >= _precedence(present):
                by_key[_key(line)] = line
    succeeded = {
        line.run_id for line in by_key.values() if isinstance(line, Run) and line.status != FAILED
    }
    lines = (by_key[key] for key in sorted(by_key))
    return [
        line
        for line in lines
        if not (isinstance(line, Run) and line.status == FAILED and line.run_id in succeeded)
    ]


def _precedence(line: Line) -> tuple[int, int]:
    if isinstance(line, Measurement):
        return line.version, line.pool.size if line.pool else 0
    return int(isinstance(line, Run) and line.status != FAILED), 0


def _key(line: Line) -> tuple[str, ...]:
    if isinstance(line, Run):
        seed = line.replicate.seed
        forget_seed = line.replicate.forget_seed
        order = f"{seed:012d}", f"{forget_seed:012d}", f"{line.draw:06d}"
        return ("run", line.method, *order, line.run_id, line.outcome)
    if isinstance(line, Undefined):
        return ("undefined", line.scenario, line.method)
    if isinstance(line, Definition):
        return ("definition", line.protocol, f"{line.version:06d}")
    if isinstance(line, Published):
        return ("published", line.name)
    return ("measurement", line.run_id, line.outcome, line.protocol)


def identity_of(line: Run | Measurement) -> tuple[str, str]:
    """The (run_id, outcome) of a run, or of the run that was measured."""
    return line.run_id, line.outcome


def problem_key(run: Run) -> str:
    """What two runs must have in common to be of one problem, and so to stand in one table."""
    return _problem(run.scenario, run.basis)


@lru_cache(maxsize=256)
def _problem(scenario: Scenario, basis: Basis) -> str:
    own = {**plain(scenario), "data": basis.data, "build": basis.build, "code": basis.code}
    return canonical({name: own[name] for name in own if name not in PAGE_ONLY})
