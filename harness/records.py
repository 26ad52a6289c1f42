"""Runs and measurements as JSON lines, and the hash that names what was asked."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.data import Augmentation
from harness.errors import UserError
from harness.evidence import Cost, Estimate
from harness.forgetting import ClassFraction, GivenRows, RandomFraction, WholeClass
from harness.names import check_name
from harness.shapes import require_type
from harness.specs import Recipe, Scenario

FINISHED, DIVERGED, CHANGED = "finished", "diverged", "changed architecture"
STATUSES = (FINISHED, DIVERGED, CHANGED)

PARTS: Mapping[str, type[Any]] = {
    part.__name__: part
    for part in (
        Scenario,
        Recipe,
        Augmentation,
        RandomFraction,
        WholeClass,
        ClassFraction,
        GivenRows,
    )
}
"""What a scenario is made of, by the name under which ``plain`` writes it."""


CIRCUMSTANCES: Mapping[str, Any] = {
    "device": str,
    "hardware": str,
    "threads": int,
    "packages": Mapping[str, str],
    "commit": str,
    "finished": str,
}
"""What a page reads of a run's circumstances, and of which type it is."""

MALFORMED = (ValueError, TypeError, KeyError, AttributeError)
"""What reading a line raises that is no record."""

BESIDE_THE_SCENARIO = ("data", "build", "code")
"""What a run's line says beside its scenario: hashes of the data and of the backbone, and the
version of the harness's numbers. Runs that differ in one of them share no table."""


@dataclass(frozen=True)
class Run:
    """One model that was made, and what was asked for it."""

    run_id: str
    """The hash of what was asked; protocols have no part in it."""
    scenario: Mapping[str, Any]
    replicate: Mapping[str, int]
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


@dataclass(frozen=True)
class Measurement:
    """One protocol's numbers on one run."""

    run_id: str
    protocol: str
    version: int
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True)
class Undefined:
    """A method that has no row in a scenario, and why."""

    scenario: str
    method: str
    reason: str


Line = Run | Measurement | Undefined


def identity(asked: Any) -> str:
    """The name of what was asked: 20 hexadecimal digits, the same on every machine."""
    return hashlib.sha256(canonical(asked).encode()).hexdigest()[:20]


def canonical(value: Any) -> str:
    """JSON with sorted keys and without spaces; a dataclass also tells its class."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as JSON's own types.

    Raises TypeError for a value that has no exact JSON form.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"is": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    raise TypeError(f"{value!r} of type {type(value).__name__} has no JSON form")


def write_line(line: Line) -> str:
    """One JSON object without a line break."""
    return json.dumps(
        {"kind": type(line).__name__.lower(), **dataclasses.asdict(line)},
        sort_keys=True,
        allow_nan=False,
    )


def read_lines(text: str, where: str) -> list[Line]:
    """The records in a text.

    Raises UserError that names the place and the line of the first one that is none.
    """
    lines: list[Line] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        if not raw.strip():
            continue
        try:
            lines.append(_read(_parsed(raw)))
        except (*MALFORMED, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{where}, line {number}: not a record ({type(error).__name__}: {reason:.200}); "
                f"restore the file from git, or remove the line"
            ) from None
    return lines


def _parsed(text: str) -> Any:
    """JSON, less what Python reads and cannot write: NaN, infinity and half a character."""
    fields = json.loads(text)
    json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()
    return fields


def _read(fields: dict[str, Any]) -> Line:
    kind = fields.pop("kind")
    if kind == "run":
        return run_of(fields)
    if kind == "measurement":
        return measurement_of(fields)
    if kind == "undefined":
        return undefined_of(fields)
    raise ValueError(f"kind must be 'run', 'measurement' or 'undefined'; got {kind!r}")


def run_of(fields: Mapping[str, Any]) -> Run:
    """The run that ``dataclasses.asdict`` took apart; raises one of MALFORMED where it is none."""
    run = Run(**{**fields, "cost": Cost(**fields["cost"])})
    require_type("run", run)
    check_name("method", run.method)
    require_type("scenario", scenario_of(run.scenario))
    require_type("data", run.scenario["data"], str)
    require_type("build", run.scenario.get("build", ""), str)
    require_type("code", run.scenario.get("code", 0), int)
    if {*run.replicate} != {"seed", "forget_seed"}:
        raise ValueError(f"replicate: expected seed and forget_seed; got {sorted(run.replicate)}")
    if run.status not in STATUSES:
        raise ValueError(f"status must be one of {', '.join(STATUSES)}; got {run.status!r}")
    for name, hint in CIRCUMSTANCES.items():
        require_type(f"circumstances: {name}", run.circumstances[name], hint)
    return run


def measurement_of(fields: Mapping[str, Any]) -> Measurement:
    """The measurement that ``dataclasses.asdict`` took apart; else raises one of MALFORMED."""
    estimates = {name: Estimate(**value) for name, value in fields["estimates"].items()}
    measurement = Measurement(**{**fields, "estimates": estimates})
    require_type("measurement", measurement)
    check_name("protocol", measurement.protocol)
    for name, estimate in estimates.items():
        if (estimate.low is None) != (estimate.high is None):
            raise ValueError(f"{name}: low and high go together; got {estimate!r}")
    return measurement


def undefined_of(fields: Mapping[str, Any]) -> Undefined:
    """The line that ``dataclasses.asdict`` took apart; else raises one of MALFORMED."""
    line = Undefined(**fields)
    require_type("undefined", line)
    check_name("scenario", line.scenario)
    check_name("method", line.method)
    return line


def scenario_of(fields: Mapping[str, Any]) -> Scenario:
    """The scenario that ``plain`` took apart for a run's line."""
    own = {name: value for name, value in fields.items() if name not in BESIDE_THE_SCENARIO}
    scenario = _revived(own)
    if not isinstance(scenario, Scenario):
        raise TypeError(f"scenario: expected a Scenario; got {type(scenario).__name__}")
    return scenario


def _revived(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_revived(item) for item in value)
    if not isinstance(value, Mapping):
        return value
    fields = {name: _revived(item) for name, item in value.items() if name != "is"}
    return PARTS[value["is"]](**fields)


def merge(*sources: Iterable[Line]) -> list[Line]:
    """All lines, sorted; of two with one identity the later source's stands.

    But a protocol's higher version stands, wherever it comes from.
    """
    by_key: dict[tuple[str, ...], Line] = {}
    for source in sources:
        for line in source:
            there = by_key.get(_key(line))
            if there is None or _version(line) >= _version(there):
                by_key[_key(line)] = line
    return [by_key[key] for key in sorted(by_key)]


def _version(line: Line) -> int:
    return line.version if isinstance(line, Measurement) else 0


def _key(line: Line) -> tuple[str, ...]:
    if isinstance(line, Run):
        seed = line.replicate
        order = f"{seed['seed']:012d}", f"{seed['forget_seed']:012d}", f"{line.draw:06d}"
        return ("run", line.method, *order, line.run_id)
    if isinstance(line, Undefined):
        return ("undefined", line.scenario, line.method)
    return ("measurement", line.run_id, line.protocol)
