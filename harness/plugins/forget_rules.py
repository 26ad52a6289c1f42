"""Forget rules of plugins: their source hashes, and their lookup for recorded scenarios."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from typing import Any

from harness.errors import UserError
from harness.plugins.source_hash import Source, source_of
from harness.specs.catalog import Catalog
from harness.specs.forgetting import BUILT_IN, ForgetRule
from harness.specs.recorded_rule import RecordedRule
from harness.specs.scenario import Scenario


def rule_source(rule: ForgetRule) -> Source | None:
    """The source of a plugin's rule; None for a built-in rule, which has the harness's version."""
    if isinstance(rule, (*BUILT_IN, RecordedRule)):
        return None
    return source_of(type(rule))


def with_source(rule: ForgetRule) -> ForgetRule:
    """The rule with its source hash, if it is a plugin's; the hash is part of a run's identity."""
    source = rule_source(rule)
    if source is None:
        return rule
    hashed = copy(rule)
    object.__setattr__(hashed, "source", source.hash)
    return hashed


def with_plugin_rule(scenario: Scenario, catalog: Catalog) -> Scenario:
    """A recorded scenario with the plugin's own rule, so that its rows can be selected.

    Raises UserError if no plugin provides the rule, or if its source has changed.
    """
    recorded = scenario.forget
    if not isinstance(recorded, RecordedRule):
        return scenario
    rules = {type(each.forget): each.forget for each in catalog.scenarios.values()}
    sources = {cls: rule.source for cls, rule in rules.items() if cls.__name__ == recorded.name}
    for cls, source in sources.items():
        if source == recorded.source:
            return replace(scenario, forget=_rebuilt(cls, recorded))
    if sources:
        raise UserError(f"the source of its forget rule {recorded.name} has changed")
    raise UserError(
        f"no plugin provides its forget rule {recorded.name}; install one, or give it by -p"
    )


def _rebuilt(cls: type[ForgetRule], recorded: RecordedRule) -> ForgetRule:
    settings = {name: _tupled(value) for name, value in json.loads(recorded.settings).items()}
    return cls(**settings, source=recorded.source)


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
