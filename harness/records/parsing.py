"""Runs and measurements as JSON lines: written, read, and checked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from harness.errors import UserError
from harness.records.lines import (
    STATUSES,
    Basis,
    Definition,
    Line,
    Measurement,
    Run,
    Undefined,
    plain,
)
from harness.records.type_checks import require_type
from harness.records.versions import CLASSES, OWN, PARTS, is_newer
from harness.specs.names import check_name
from harness.specs.plugin_rules import SAYS, RecordedRule, is_recorded
from harness.specs.protocol import Cost, Estimate, Metric
from harness.specs.scenario import Replicate, Scenario

KIND = {cls: kind for kind, cls in CLASSES.items()}

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

SUSPECT = re.compile(r"NaN|Infinity|\\u|[eE]\+?\d{3}|\d{300}")
"""Where a text may hold what Python's JSON reads and cannot write."""

MALFORMED = (ValueError, TypeError, KeyError, AttributeError)
"""What reading a line raises that is no record."""


class Reading(NamedTuple):
    """What a text of records holds."""

    lines: list[Line]
    newer: list[str]
    """Lines that a newer version of this program wrote, as they stand there."""


def write_line(line: Line) -> str:
    """One JSON object without a line break."""
    fields = {"kind": KIND[type(line)], **fields_of(line)}
    return json.dumps(fields, sort_keys=True, allow_nan=False)


def fields_of(line: Line) -> dict[str, Any]:
    """A line as JSON holds it, less its kind; ``line_of`` reads it."""
    own = {name: _apart(value) for name, value in vars(line).items() if name in OWN[type(line)]}
    if isinstance(line, Run):
        own["scenario"] = _scenario_fields(line.scenario, own.pop("basis"))
    return {name: value for name, value in own.items() if value or name not in LATER}


def _scenario_fields(scenario: Scenario, basis: Mapping[str, Any]) -> dict[str, Any]:
    """One object holds a run's scenario and its basis, less what of this is not known."""
    fields = {**plain(scenario), **{name: value for name, value in basis.items() if value}}
    rule = scenario.forget
    if isinstance(rule, RecordedRule):
        fields["forget"] |= {"kind": rule.kind, SAYS: rule.says}
    return fields


def _apart(value: Any) -> Any:
    """A field's value, with the dataclasses in it taken apart."""
    if isinstance(value, Cost | Estimate | Metric | Basis | Replicate):
        return vars(value)
    if isinstance(value, tuple):
        return [_apart(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _apart(item) for name, item in value.items()}
    return value


def read_lines(text: str, where: str) -> Reading:
    """The records in a text.

    Raises UserError that names the place and the line of the first one that is none.
    """
    found = Reading([], [])
    for number, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        try:
            fields = _parsed(raw)
            if is_newer(fields):
                found.newer.append(raw)
            else:
                found.lines.append(line_of(fields))
        except (*MALFORMED, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{where}, line {number}: not a record ({type(error).__name__}: {reason:.200}); "
                f"restore the file from git, or remove the line"
            ) from None
    return found


def _parsed(text: str) -> Any:
    """JSON, less what Python reads and cannot write: NaN, infinity and half a character."""
    fields = json.loads(text)
    if SUSPECT.search(text):
        json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()
    return fields


def line_of(fields: Mapping[str, Any]) -> Line:
    """The line of a kind that this version knows; raises one of MALFORMED where it is none."""
    own = {name: value for name, value in fields.items() if name != "kind"}
    return READERS[fields["kind"]](own)


def run_of(fields: Mapping[str, Any]) -> Run:
    """The run that ``fields_of`` took apart; raises one of MALFORMED where it is none."""
    retrained = fields.get("retrained", ())
    if not isinstance(retrained, list | tuple):
        raise TypeError(f"run: retrained: expected a list; got {retrained!r:.60}")
    scenario, basis = _scenario_and_basis(json.dumps(fields["scenario"], sort_keys=True))
    own = {
        "scenario": scenario,
        "basis": basis,
        "replicate": Replicate(**fields["replicate"]),
        "cost": Cost(**fields["cost"]),
        "retrained": tuple(retrained),
    }
    run = Run(**{**fields, **own})
    require_type("run", run)
    check_name("method", run.method)
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


def definition_of(fields: Mapping[str, Any]) -> Definition:
    """The line that ``fields_of`` took apart; else raises one of MALFORMED."""
    metrics = tuple(Metric(**each) for each in fields["metrics"])
    line = Definition(**{**fields, "metrics": metrics})
    require_type("definition", line)
    check_name("protocol", line.protocol)
    return line


READERS: Mapping[str, Callable[[Mapping[str, Any]], Line]] = {
    "run": run_of,
    "measurement": measurement_of,
    "undefined": undefined_of,
    "definition": definition_of,
}
"""How a line of each kind is read."""


def scenario_of(fields: Mapping[str, Any]) -> Scenario:
    """The scenario that ``plain`` took apart."""
    scenario = _revived(fields)
    if not isinstance(scenario, Scenario):
        raise TypeError(f"scenario: expected a Scenario; got {type(scenario).__name__}")
    return scenario


@lru_cache(maxsize=256)
def _scenario_and_basis(text: str) -> tuple[Scenario, Basis]:
    """What a run's line says of its problem; read once, since thousands of runs share one."""
    fields = json.loads(text)
    basis = Basis(**{name: fields.pop(name) for name in OWN[Basis] if name in fields})
    return scenario_of(fields), basis


def _revived(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_revived(item) for item in value)
    if not isinstance(value, Mapping):
        return value
    if value["is"] not in PARTS and is_recorded(value):
        return RecordedRule.read(value)
    fields = {name: _revived(item) for name, item in value.items() if name != "is"}
    return PARTS[value["is"]](**fields)
