"""Detects lines that a newer version of this program wrote: they are kept but not read.

The same rule applies to files of records and to stores. Such a line has an unknown kind or status,
an unknown field at any depth, or a later version of the harness's numbers. A protocol's version
does not count: the highest one wins, whoever measured it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeGuard

from harness.records.lines import STATUSES, Basis, Definition, Measurement, Pool, Run, Undefined
from harness.specs.augmentation import Augmentation
from harness.specs.evidence import Cost
from harness.specs.forgetting import BUILT_IN, ForgetRule
from harness.specs.protocol import Estimate, Metric
from harness.specs.published import Column, Paper, Printed, Published
from harness.specs.recorded_rule import is_recorded
from harness.specs.scenario import Recipe, Replicate, Scenario
from harness.specs.score_summary import ScoreSummary
from harness.version import CODE

CLASSES: Mapping[str, type[Any]] = {
    "run": Run,
    "measurement": Measurement,
    "undefined": Undefined,
    "definition": Definition,
    "published": Published,
}
"""The kinds of line."""

RULES: Mapping[str, type[ForgetRule]] = {rule.__name__: rule for rule in BUILT_IN}

PARTS: Mapping[str, type[Any]] = {
    part.__name__: part for part in (Scenario, Recipe, Augmentation, *BUILT_IN)
}
"""The classes of a scenario's parts, by the name that ``plain`` writes."""

OWN: Mapping[type[Any], frozenset[str]] = {
    cls: frozenset(field.name for field in dataclasses.fields(cls))
    for cls in (
        *(*CLASSES.values(), *PARTS.values(), Basis, Cost, Estimate, Metric, Replicate),
        *(Column, Paper, Printed, Pool, ScoreSummary),
    )
}
"""The fields that each class has in this version."""


def is_newer(fields: Any) -> bool:
    """Whether a newer version wrote the line with these fields."""
    if not _is_map(fields) or not isinstance(fields.get("kind"), str):
        return False
    cls = CLASSES.get(fields["kind"])
    if cls is None or _has_new_fields(fields, cls, "kind"):
        return True
    if cls is Measurement:
        estimates = fields.get("estimates")
        return (
            (_is_map(estimates) and any(_has_new_fields(e, Estimate) for e in estimates.values()))
            or _has_new_fields(fields.get("pool"), Pool)
            or _has_new_fields(fields.get("scores"), ScoreSummary)
        )
    if cls is Definition:
        return _any_has_new_fields(fields.get("metrics"), Metric)
    if cls is Published:
        return (
            _has_new_fields(fields.get("paper"), Paper)
            or _any_has_new_fields(fields.get("columns"), Column)
            or _any_has_new_fields(fields.get("numbers"), Printed)
        )
    return cls is Run and _is_newer_run(fields)


def newer_text(count: int, of: str) -> str:
    """The message about such lines, printed once per place."""
    return f"{count} {of} were written by a newer version of this program; kept, not shown"


def _is_newer_run(fields: Mapping[str, Any]) -> bool:
    status = fields.get("status")
    scenario = fields.get("scenario")
    if isinstance(status, str) and status not in STATUSES:
        return True
    if _has_new_fields(fields.get("cost"), Cost):
        return True
    if _has_new_fields(fields.get("replicate"), Replicate):
        return True
    if not _is_map(scenario):
        return False
    code = scenario.get("code")
    if isinstance(code, int) and code > CODE:
        return True
    own = {name: value for name, value in scenario.items() if name not in OWN[Basis]}
    return _is_newer_part(own)


def _is_newer_part(value: Any) -> bool:
    """Whether any part of a scenario has an unknown class or an unknown field."""
    if isinstance(value, list | tuple):
        return any(map(_is_newer_part, value))
    if not _is_map(value) or not isinstance(value.get("is"), str):
        return False
    part = PARTS.get(value["is"])
    if part is None and is_recorded(value):
        return False
    return part is None or _has_new_fields(value, part) or any(map(_is_newer_part, value.values()))


def _has_new_fields(value: Any, cls: type[Any], *allowed: str) -> bool:
    return _is_map(value) and not value.keys() <= {*OWN[cls], "is", *allowed}


def _any_has_new_fields(values: Any, cls: type[Any]) -> bool:
    return isinstance(values, list) and any(_has_new_fields(each, cls) for each in values)


def _is_map(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)
