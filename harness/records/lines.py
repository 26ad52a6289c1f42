"""Runs and measurements, the hash that names what was asked, and which of two lines stands."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.specs.checks import NOT_NEGATIVE, OneOf, Whole, settle
from harness.specs.names import check_name
from harness.specs.plugin_rules import RecordedRule
from harness.specs.protocol import Cost, Estimate, Metric
from harness.specs.scenario import Replicate, Scenario

FINISHED, DIVERGED, CHANGED = "finished", "diverged", "changed architecture"
FAILED = "failed"
"""The method raised, was killed, hung or ran out of time: there is no model."""
STATUSES = (FINISHED, DIVERGED, CHANGED, FAILED)


@dataclass(frozen=True)
class Basis:
    """What a run rests on besides its scenario; runs of different bases share no table.

    The name of the class is the exception: it is for readers, and separates nothing.
    """

    data: str
    """The hash of the images and labels."""
    build: str = ""
    """The backbone's name; a plugin's comes with the hash of its source."""
    code: int = 0
    """The version of the harness's numbers."""
    class_name: str = ""
    """The name of the class that is forgotten, where the data set names it."""


@dataclass(frozen=True)
class Run:
    """One model that was made, and what was asked for it."""

    run_id: str
    """The hash of what was asked; protocols have no part in it."""
    scenario: Scenario
    basis: Basis
    replicate: Replicate
    method: str
    config: Mapping[str, Any]
    draw: int
    """Which of the K retrained models; 0 for every other method."""
    source: str
    """The hash of the method's source; empty for the two references."""
    status: str
    circumstances: Mapping[str, Any]
    """Device, packages, commit, when it finished."""
    cost: Cost
    chosen: str = ""
    """How its settings were chosen, where they are not the method's defaults."""
    tuning_passes: float = 0.0
    """What all trials of the method's tuning took together."""
    digest: str = ""
    """Of its logits, train and test: 20 hexadecimal digits; empty where there are none."""
    original: str = ""
    """The digest of the original's logits."""
    retrained: tuple[str, ...] = ()
    """Those of the K retrained models that it is measured against; a retrained one is among its
    own."""
    reason: str = ""
    """One line: why the status is not FINISHED."""

    def __post_init__(self) -> None:
        check_name("method", self.method)
        settle(self, "run", draw=Whole(0), status=OneOf(STATUSES), tuning_passes=NOT_NEGATIVE)

    @cached_property
    def outcome(self) -> str:
        """What came of it beside what, on one machine; empty for lines without digests.

        Runs of one ``run_id`` and different outcomes are of machines that compute differently.
        """
        return outcome_of(self.digest, self.original, self.retrained)


def outcome_of(digest: str, original: str, retrained: Iterable[str]) -> str:
    """20 hexadecimal digits over the digests of a run and of its references."""
    digests = [digest, original, *retrained]
    return identity(digests) if any(digests) else ""


@dataclass(frozen=True)
class Measurement:
    """One protocol's numbers on one run."""

    run_id: str
    protocol: str
    version: int
    estimates: Mapping[str, Estimate]
    outcome: str = ""
    """Of the run that was measured."""

    def __post_init__(self) -> None:
        check_name("protocol", self.protocol)
        settle(self, "measurement", version=Whole(0))


@dataclass(frozen=True)
class Undefined:
    """A method that has no row in a scenario, and why."""

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


Line = Run | Measurement | Undefined | Definition


def identity(asked: Any) -> str:
    """The name of what was asked: 20 hexadecimal digits, the same on every machine."""
    return hashlib.sha256(canonical(asked).encode()).hexdigest()[:20]


def canonical(value: Any) -> str:
    """JSON with sorted keys and without spaces; a dataclass also tells its class."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as JSON's own types.

    A field that was added later than its class (``metadata={"later": True}``) is left out while it
    has its default, so that what was asked for before keeps its name.

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
    """Without later additions at their defaults, so that what was asked before keeps its name."""
    values = {each: getattr(spec, each.name) for each in dataclasses.fields(spec)}
    return {
        each.name: plain(value)
        for each, value in values.items()
        if not (each.metadata.get("later") and value == each.default)
    }


def merge(*sources: Iterable[Line]) -> list[Line]:
    """All lines, sorted; of two with one identity the later source's stands.

    But a protocol's higher version stands, wherever it comes from, and so does any other status
    of a run beside a failure.
    """
    by_key: dict[tuple[str, ...], Line] = {}
    for source in sources:
        for line in source:
            there = by_key.get(_key(line))
            if there is None or _precedence(line) >= _precedence(there):
                by_key[_key(line)] = line
    made = {
        line.run_id for line in by_key.values() if isinstance(line, Run) and line.status != FAILED
    }
    lines = (by_key[key] for key in sorted(by_key))
    return [
        line
        for line in lines
        if not (isinstance(line, Run) and line.status == FAILED and line.run_id in made)
    ]


def _precedence(line: Line) -> int:
    if isinstance(line, Measurement):
        return line.version
    return int(isinstance(line, Run) and line.status != FAILED)


def _key(line: Line) -> tuple[str, ...]:
    if isinstance(line, Run):
        own = line.replicate
        order = f"{own.seed:012d}", f"{own.forget_seed:012d}", f"{line.draw:06d}"
        return ("run", line.method, *order, line.run_id, line.outcome)
    if isinstance(line, Undefined):
        return ("undefined", line.scenario, line.method)
    if isinstance(line, Definition):
        return ("definition", line.protocol, f"{line.version:06d}")
    return ("measurement", line.run_id, line.outcome, line.protocol)


def identity_of(line: Run | Measurement) -> tuple[str, str]:
    """Which run it is, or is measured on: what was asked, and what came of it on which machine."""
    return line.run_id, line.outcome
