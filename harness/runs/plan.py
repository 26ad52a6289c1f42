"""The graph of steps that scenarios, replicates and methods amount to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from harness.plugins.rules import rule_source
from harness.plugins.source_hash import Source, method_source, source_of
from harness.records.store import StepId
from harness.records.tuned import Tuning
from harness.records.tuned import problem_of as tuning_problem
from harness.runs.keys import PlannedRun, measurement_of
from harness.specs.catalog import Catalog
from harness.specs.method import Method
from harness.specs.protocol import Protocol
from harness.specs.scenario import (
    ORIGINAL,
    REFERENCES,
    RETRAIN,
    RETRAIN_DRAWS,
    Replicate,
    Scenario,
)


@dataclass(frozen=True)
class Entrant:
    """A method with the settings that it runs with."""

    method: Method
    config: Any
    chosen: str = ""
    """How the config was chosen, unless it is the method's own or tuned."""
    tuning: Tuning | None = None
    """The tuning whose best settings the config holds."""
    tuning_passes: float = 0.0

    def chosen_for(self, source: str, problem: str) -> str:
        """How the config was chosen, as told of a run of this source and tuning problem."""
        return self.chosen or (self.tuning.chosen(source, problem) if self.tuning else "")


ANY = Replicate(0, 0)
"""Stands for each replicate where a run is described once for all of them."""


class Problem(NamedTuple):
    """What is asked for in one scenario."""

    scenario: Scenario
    replicates: Sequence[Replicate]
    entrants: Iterable[Entrant]
    """The methods besides the two references, which run in every scenario."""


@dataclass(frozen=True)
class Step:
    """A piece of work whose result the store keeps under its id."""

    id: StepId
    needs: tuple[StepId, ...]
    """The steps that must be done before."""
    run: PlannedRun
    protocol: Protocol | None = None
    """What a measurement measures."""


@dataclass(frozen=True)
class Plan:
    """Steps in an order in which they can be done, and what has no step."""

    steps: tuple[Step, ...]
    undefined: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(scenario, method) → why the method is not defined there."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Hash → source, of all methods and of plugins' backbones and forget rules."""

    def edited(self, run: PlannedRun) -> str:
        """The module whose text changed before this run imported it; empty if none did.

        Asked after a step, in its process: its result is then not what the run's key says.
        """
        hashes = (run.source, run.build.rpartition("@")[2], run.scenario.forget.source)
        found = (self.sources[each].edited() for each in hashes if each in self.sources)
        return next((module for module in found if module), "")


def make_plan(
    problems: Iterable[Problem],
    catalog: Catalog,
    fingerprints: Mapping[str, str],
    classes: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Plan:
    """All steps of scenarios × replicates × (references and entrants).

    ``fingerprints`` maps a data set to the hash of its content, ``classes`` to the names of its
    classes, which are not part of any key.
    """
    steps: dict[StepId, Step] = {}
    undefined: dict[tuple[str, str], str] = {}
    sources: dict[str, Source] = {}
    for scenario, replicates, entrants in problems:
        names = classes.get(scenario.dataset, ())
        original = PlannedRun(
            scenario=scenario,
            replicate=ANY,
            method=ORIGINAL,
            fingerprint=fingerprints[scenario.dataset],
            build=build_of(scenario, catalog),
            class_name=scenario.forget.class_name(names),
            described=scenario.forget.describe(names),
        )
        runs = _references(original)
        own = (*_build_sources(scenario, catalog), rule_source(scenario.forget))
        sources |= {source.hash: source for source in own if source}
        for entrant in entrants:
            if reason := entrant.method.undefined_because(scenario):
                undefined[scenario.name, entrant.method.name] = reason
                continue
            source = method_source(entrant.method)
            sources[source.hash] = source
            runs.append(_entered(entrant, source.hash, original))
        for replicate in replicates:
            drawn = [replace(run, replicate=replicate) for run in runs]
            for step in _steps(drawn, catalog.protocols.values()):
                steps.setdefault(step.id, step)
    return Plan(tuple(steps.values()), undefined, sources)


def _references(original: PlannedRun) -> list[PlannedRun]:
    """The original and the K retrained models."""
    draws = range(RETRAIN_DRAWS)
    return [original, *(replace(original, method=RETRAIN, draw=draw) for draw in draws)]


def _entered(entrant: Entrant, source: str, original: PlannedRun) -> PlannedRun:
    """The run of an entrant, whose method's source has this hash, beside an original."""
    problem = tuning_problem(original.scenario, original.fingerprint, original.build)
    return replace(
        original,
        method=entrant.method.name,
        config=entrant.config,
        source=source,
        chosen=entrant.chosen_for(source, problem),
        tuning_passes=entrant.tuning_passes,
    )


def _steps(runs: Sequence[PlannedRun], protocols: Iterable[Protocol]) -> Iterator[Step]:
    """The graph of one replicate: train or unlearn → predict → record → measure.

    A method starts from the original model; a record names the logits of all references, and a
    protocol compares with those of the retrained models.
    """
    original, *retrained = (run.logits for run in runs if run.method in REFERENCES)
    for run in runs:
        start = () if run.method in REFERENCES else (run.original,)
        yield Step(run.model, start, run)
        yield Step(run.logits, (run.model,), run)
        yield Step(run.record, (run.model, run.logits, original, *retrained), run)
        yield from measurements(run.record, run.logits, retrained, run, protocols)


def measurements(
    record: StepId,
    logits: StepId,
    retrained: Sequence[StepId],
    run: PlannedRun,
    protocols: Iterable[Protocol],
) -> Iterator[Step]:
    """The steps that measure protocols on a run from its logits and the retrained models'."""
    for protocol in protocols:
        needs = (record, logits, *retrained)
        yield Step(measurement_of(record, protocol), needs, run, protocol)


def build_of(scenario: Scenario, catalog: Catalog) -> str:
    """The backbone's name; a plugin's comes with the hash of its source."""
    return "@".join([scenario.backbone, *(s.hash for s in _build_sources(scenario, catalog))])


def _build_sources(scenario: Scenario, catalog: Catalog) -> list[Source]:
    """The source of a plugin's backbone; none of a library's."""
    plugin = catalog.backbones.get(scenario.backbone.partition("[")[0])
    return [source_of(plugin.build)] if plugin else []
