"""Runs and measurements as JSON lines: written, read, and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, NotRequired, TypedDict

import msgspec

from harness.errors import UserError
from harness.records.lines import Basis, Line, Run, plain
from harness.records.versions import CLASSES, OWN, RULES, is_newer
from harness.specs.forgetting import ForgetRule
from harness.specs.plugin_rules import SAYS, RecordedRule, is_recorded
from harness.specs.scenario import Recipe, Scenario

KIND = {cls: kind for kind, cls in CLASSES.items()}


class Circumstances(TypedDict):
    """What a page reads of a run's circumstances; a line may tell more."""

    device: str
    hardware: str
    threads: int
    packages: Mapping[str, str]
    commit: str
    finished: str
    isolated: NotRequired[bool]
    """Whether the method ran in a process of its own; earlier lines lack it."""
    capability: NotRequired[str]
    """The instruction set that torch computed with; earlier lines lack it."""


class Told(TypedDict):
    """The part of a run's line that its class does not describe."""

    circumstances: Circumstances


LATER = ("digest", "original", "retrained", "reason", "outcome")
"""Fields that earlier lines lack: left out while they are empty, so that such a line is written
back as it was."""

MALFORMED = (ValueError, TypeError, KeyError, AttributeError)
"""Raised for an invalid record."""


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
    own = _apart(line)
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
    if own := OWN.get(type(value)):
        if isinstance(value, Scenario):
            return value
        return {name: _apart(getattr(value, name)) for name in own}
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
            fields = msgspec.json.decode(raw)
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


def line_of(fields: Mapping[str, Any]) -> Line:
    """The line of a kind that this version knows; raises one of MALFORMED for an invalid one."""
    kind = CLASSES[fields["kind"]]
    if kind is Run:
        return run_of({name: fields[name] for name in fields if name != "kind"})
    line: Line = msgspec.convert(fields, kind)
    return line


def run_of(fields: Mapping[str, Any]) -> Run:
    """The run that ``fields_of`` took apart; raises one of MALFORMED for an invalid one."""
    msgspec.convert(fields, Told)
    told = fields["scenario"]
    if not isinstance(told, Mapping):
        raise TypeError(f"scenario: expected an object; got {told!r:.60}")
    scenario, basis = _scenario_and_basis(json.dumps(told, sort_keys=True))
    return msgspec.convert({**fields, "scenario": scenario, "basis": basis}, Run)


def scenario_of(fields: Mapping[str, Any]) -> Scenario:
    """The scenario that ``plain`` took apart; raises one of MALFORMED for an invalid one."""
    for part, name in ((fields, "Scenario"), (fields["recipe"], "Recipe")):
        if part.get("is") != name:
            raise ValueError(f"expected a {name}; got {part.get('is')!r:.60}")
    own = {name: fields[name] for name in fields if name != "is"}
    recipe = msgspec.convert(fields["recipe"], Recipe)
    return Scenario(**{**own, "recipe": recipe, "forget": _rule_of(fields["forget"])})


def _rule_of(told: Mapping[str, Any]) -> ForgetRule:
    if rule := RULES.get(told["is"]):
        return msgspec.convert(told, rule)
    if not is_recorded(told):
        raise ValueError(f"forget: expected a forget rule; got {told!r:.60}")
    return RecordedRule.read(told)


@lru_cache(maxsize=256)
def _scenario_and_basis(text: str) -> tuple[Scenario, Basis]:
    """What a run's line says of its problem; read once, since thousands of runs share one."""
    fields = json.loads(text)
    basis = msgspec.convert({name: fields[name] for name in fields if name in OWN[Basis]}, Basis)
    return scenario_of({n: fields[n] for n in fields if n not in OWN[Basis]}), basis
