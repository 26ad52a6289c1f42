"""Runs and measurements as JSON lines: written, read, and checked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from harness.data import Augmentation
from harness.errors import UserError
from harness.evidence import Cost, Estimate
from harness.forgetting import ClassFraction, GivenRows, RandomFraction, WholeClass
from harness.names import check_name
from harness.records import STATUSES, Line, Measurement, Run, Undefined
from harness.shapes import require_type
from harness.specs import Recipe, Scenario

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

LATER_CIRCUMSTANCES: Mapping[str, Any] = {"isolated": bool, "capability": str}
"""The same of what earlier lines lack: whether the method ran in a process of its own, and the
instruction set that torch computed with."""

LATER = ("digest", "original", "retrained", "reason", "outcome")
"""Fields that earlier lines lack: not written where they are empty, so that such a line is written
back as it was."""

MALFORMED = (ValueError, TypeError, KeyError, AttributeError)
"""What reading a line raises that is no record."""

BESIDE_THE_SCENARIO = ("data", "build", "code")
"""What a run's line says beside its scenario: hashes of the data and of the backbone, and the
version of the harness's numbers. Runs that differ in one of them share no table."""


def write_line(line: Line) -> str:
    """One JSON object without a line break."""
    fields = {
        name: value
        for name, value in dataclasses.asdict(line).items()
        if value or name not in LATER
    }
    return json.dumps(
        {"kind": type(line).__name__.lower(), **fields}, sort_keys=True, allow_nan=False
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
    retrained = fields.get("retrained", ())
    if not isinstance(retrained, list | tuple):
        raise TypeError(f"run: retrained: expected a list; got {retrained!r:.60}")
    run = Run(**{**fields, "cost": Cost(**fields["cost"]), "retrained": tuple(retrained)})
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
    for name, hint in LATER_CIRCUMSTANCES.items():
        if name in run.circumstances:
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
