"""Plugins' forget rules: each with the hash of its source, and found again for a record."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from typing import Any

from harness.errors import UserError
from harness.plugins.source_hash import Source, source_of
from harness.specs.catalog import Catalog
from harness.specs.forgetting import BUILT_IN, ForgetRule
from harness.specs.plugin_rules import RecordedRule
from harness.specs.scenario import Scenario


def rule_source(rule: ForgetRule) -> Source | None:
    """The source of a plugin's rule; None for a built-in one, whose version is the harness's."""
    if isinstance(rule, (*BUILT_IN, RecordedRule)):
        return None
    return source_of(type(rule))


def with_source(rule: ForgetRule) -> ForgetRule:
    """The rule; a plugin's with the hash of its source, which names all that depends on it."""
    source = rule_source(rule)
    if source is None:
        return rule
    named = copy(rule)
    object.__setattr__(named, "source", source.hash)
    return named


def revived(scenario: Scenario, catalog: Catalog) -> Scenario:
    """A recorded scenario with the rule itself, so that its rows can be selected.

    Raises UserError where no plugin gives the rule, or gives it with another source.
    """
    told = scenario.forget
    if not isinstance(told, RecordedRule):
        return scenario
    given = {type(each.forget): each.forget for each in catalog.scenarios.values()}
    there = {cls: rule.source for cls, rule in given.items() if cls.__name__ == told.name}
    for cls, source in there.items():
        if source == told.source:
            return replace(scenario, forget=_made(cls, told))
    if there:
        raise UserError(f"the source of its forget rule {told.name} has changed")
    raise UserError(f"no plugin gives its forget rule {told.name}; expected one by -p")


def _made(cls: type[ForgetRule], told: RecordedRule) -> ForgetRule:
    settings = {name: _tupled(value) for name, value in json.loads(told.settings).items()}
    return cls(**settings, source=told.source)


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
