"""Writes, reads and checks records as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, NotRequired, TypedDict

import msgspec

from harness.errors import UserError
from harness.records.lines import Basis, Line, Run, plain, present
from harness.records.versions import CLASSES, OWN, RULES, is_newer
from harness.specs.forgetting import ForgetRule
from harness.specs.recorded_rule import SAYS, RecordedRule, is_recorded
from harness.specs.scenario import Recipe, Scenario

KIND = {cls: kind for kind, cls in CLASSES.items()}


class Circumstances(TypedDict):
    """The circumstances of a run that pages use; a line may contain more."""

    device: str
    hardware: str
    threads: int
    packages: Mapping[str, str]
    commit: str
    finished: str
    isolated: NotRequired[bool]
    """Whether the method ran in its own process; missing in earlier lines."""
    capability: NotRequired[str]
    """The instruction set that torch used; missing in earlier lines."""


class UntypedPart(TypedDict):
    """The part of a run's line for which ``Run`` declares no exact types."""

    circumstances: Circumstances


LATER = ("digest", "original", "retrained", "reason", "outcome", "idle", "pool", "scores")
"""Fields that earlier lines lack: omitted if empty, so that writing such a line reproduces it."""

MALFORMED = (ValueError, TypeError, KeyError, AttributeError)
"""Raised for an invalid record."""


class Reading(NamedTuple):
    """The content of a text of records."""

    lines: list[Line]
    newer: list[str]
    """Lines that a newer version of this program wrote, verbatim."""


def write_line(line: Line) -> str:
    """One JSON object without a line break."""
    fields = {"kind": KIND[type(line)], **fields_of(line)}
    return json.dumps(fields, sort_keys=True, allow_nan=False)


def fields_of(line: Line) -> dict[str, Any]:
    """A line as JSON types, without its kind; ``line_of`` converts it back."""
    own = _plain_fields(line)
    if isinstance(line, Run):
        own["scenario"] = _scenario_fields(line.scenario, own.pop("basis"))
    return {name: value for name, value in own.items() if value or name not in LATER}


def _scenario_fields(scenario: Scenario, basis: Mapping[str, Any]) -> dict[str, Any]:
    """One object with a run's scenario and the non-empty fields of its basis."""
    fields = {**plain(scenario), **{name: value for name, value in basis.items() if value}}
    rule = scenario.forget
    if isinstance(rule, RecordedRule):
        fields["forget"] |= {"kind": rule.kind, SAYS: rule.says}
    return fields


def _plain_fields(value: Any) -> Any:
    """A field's value with every dataclass in it, except a scenario, converted to a dictionary."""
    if own := OWN.get(type(value)):
        if isinstance(value, Scenario):
            return value
        return {name: _plain_fields(getattr(value, name)) for name in own & {*present(value)}}
    if isinstance(value, tuple):
        return [_plain_fields(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain_fields(item) for name, item in value.items()}
    return value


def read_lines(text: str, where: str) -> Reading:
    """The records in a text.

    Raises UserError that names the place and the number of the first invalid line.
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
    """A line of a kind that this version knows; raises one of MALFORMED if it is invalid."""
    kind = CLASSES[fields["kind"]]
    if kind is Run:
        return run_of({name: fields[name] for name in fields if name != "kind"})
    line: Line = msgspec.convert(fields, kind)
    return line


def run_of(fields: Mapping[str, Any]) -> Run:
    """The run from the output of ``fields_of``; raises one of MALFORMED if it is invalid."""
    msgspec.convert(fields, UntypedPart)
    problem = fields["scenario"]
    if not isinstance(problem, Mapping):
        raise TypeError(f"scenario: expected an object; got {problem!r:.60}")
    scenario, basis = _scenario_and_basis(json.dumps(problem, sort_keys=True))
    return msgspec.convert({**fields, "scenario": scenario, "basis": basis}, Run)


def scenario_of(fields: Mapping[str, Any]) -> Scenario:
    """The scenario from the output of ``plain``; raises one of MALFORMED if it is invalid."""
    for part, name in ((fields, "Scenario"), (fields["recipe"], "Recipe")):
        if part.get("is") != name:
            raise ValueError(f"expected a {name}; got {part.get('is')!r:.60}")
    own = {name: fields[name] for name in fields if name != "is"}
    recipes = {
        name: msgspec.convert(fields[name], Recipe)
        for name in ("recipe", "fine_tuning")
        if fields.get(name) is not None
    }
    return Scenario(**{**own, **recipes, "forget": _rule_of(fields["forget"])})


def _rule_of(recorded: Mapping[str, Any]) -> ForgetRule:
    if rule := RULES.get(recorded["is"]):
        return msgspec.convert(recorded, rule)
    if not is_recorded(recorded):
        raise ValueError(f"forget: expected a forget rule; got {recorded!r:.60}")
    return RecordedRule.read(recorded)


@lru_cache(maxsize=256)
def _scenario_and_basis(text: str) -> tuple[Scenario, Basis]:
    """The scenario and basis of a run's line; cached, because thousands of runs share them."""
    fields = json.loads(text)
    basis = msgspec.convert({name: fields[name] for name in fields if name in OWN[Basis]}, Basis)
    own = {name: fields[name] for name in fields if name not in OWN[Basis]}
    return scenario_of(own), basis
