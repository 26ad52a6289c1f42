"""Plans the graph of steps for scenarios, replicates and methods."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from harness.errors import UserError, unknown
from harness.plugins.forget_rules import rule_source
from harness.plugins.source_hash import Source, backbone_source, method_source
from harness.records.store import StepId
from harness.records.tuned import Tuning, tuning_problem
from harness.runs.audit import Audit, Stack, Stacks, with_originals
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
    """A method with its settings."""

    method: Method
    config: Any
    chosen: str = ""
    """How the config was chosen; empty if it is the default or tuned."""
    tuning: Tuning | None = None
    """The tuning that the config comes from, if any."""
    tuning_passes: float = 0.0

    def chosen_for(self, source: str, problem: str, tuned_on: str) -> str:
        """How the config was chosen, as recorded for a run of this source and tuning problem.

        ``tuned_on`` is the scenario of the tuning, if it is another one.
        """
        if self.chosen or self.tuning is None:
            return self.chosen
        return self.tuning.chosen(source, problem, tuned_on)


ANY = Replicate(0, 0)
"""A placeholder for the replicate, in a run that is described once for all of them."""


Needed = tuple[Protocol, tuple[Stack, ...]]
"""A protocol, with the stacks that it needs to measure a run."""


class Problem(NamedTuple):
    """What is to be run in one scenario."""

    scenario: Scenario
    replicates: Sequence[Replicate]
    entrants: Iterable[Entrant]
    """The methods; the two references run in every scenario and are not listed."""
    audit: Audit


@dataclass(frozen=True)
class Step:
    """A piece of work; the store keeps its result under its id."""

    id: StepId
    needs: tuple[StepId, ...]
    """The steps whose results it needs."""
    run: PlannedRun
    protocol: Protocol | None = None
    """The protocol of a measurement; None for other kinds of step."""


@dataclass(frozen=True)
class Plan:
    """Steps in an order in which they can be done, and the methods that have none."""

    steps: tuple[Step, ...]
    undefined: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(scenario, method) → why the method is not defined there."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Hash → source, for all methods and for plugins' backbones and forget rules."""

    def edited(self, run: PlannedRun) -> str:
        """A module that was edited before this run imported it; empty if there is none.

        If there is one, the result is not what the run's key says. Call it after the step, in the
        process of the step.
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

    ``fingerprints`` maps a data set to the hash of its contents, ``classes`` to the names of its
    classes, which are not part of any key. Raises UserError for an unknown ``Scenario.tuned_as``.
    """
    steps: dict[StepId, Step] = {}
    undefined: dict[tuple[str, str], str] = {}
    sources: dict[str, Source] = {}
    stacks = Stacks()
    for scenario, replicates, entrants, audit in problems:
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
        home = tuning_home(scenario, catalog)
        problem = tuning_problem(home, fingerprints[home.dataset], build_of(home, catalog))
        runs = _references(original)
        own = (*_build_sources(scenario, catalog), rule_source(scenario.forget))
        sources |= {source.hash: source for source in own if source}
        for entrant in entrants:
            if reason := entrant.method.undefined_because(scenario):
                undefined[scenario.name, entrant.method.name] = reason
                continue
            source = method_source(entrant.method)
            sources[source.hash] = source
            chosen = entrant.chosen_for(source.hash, problem, scenario.tuned_as)
            runs.append(_entered(entrant, source.hash, chosen, original))
        for replicate in replicates:
            drawn = [replace(run, replicate=replicate) for run in runs]
            first = replicate == replicates[0]
            needed = [needed_by(run, audit, stacks, first=first) for run in drawn]
            for step in _steps(drawn, needed, steps):
                steps.setdefault(step.id, step)
    return Plan(tuple(steps.values()), undefined, sources)


def _references(original: PlannedRun) -> list[PlannedRun]:
    """The original and the K retrained models."""
    draws = range(RETRAIN_DRAWS)
    return [original, *(replace(original, method=RETRAIN, draw=draw) for draw in draws)]


def _entered(entrant: Entrant, source: str, chosen: str, original: PlannedRun) -> PlannedRun:
    """The run of an entrant on the original's problem; ``source`` is its method's hash."""
    return replace(
        original,
        method=entrant.method.name,
        config=entrant.config,
        source=source,
        chosen=chosen,
        tuning_passes=entrant.tuning_passes,
    )


def _steps(
    runs: Sequence[PlannedRun], needed: Sequence[Sequence[Needed]], planned: Collection[StepId]
) -> Iterator[Step]:
    """The graph of one replicate: train or unlearn → predict → record → measure.

    A method starts from the original model. A record names the logits of all references. A protocol
    compares with the logits of the retrained models, and with the stacks that it needs.
    """
    original, *retrained = (run.logits for run in runs if run.method in REFERENCES)
    for run, protocols in zip(runs, needed, strict=True):
        yield from _made(run)
        yield Step(run.record, (run.model, run.logits, original, *retrained), run)
        for stack in {each.id: each for _, stacks in protocols for each in stacks}.values():
            if stack.id not in planned:
                yield from _stacked(stack)
        yield from measurements(run.record, run.logits, retrained, run, protocols)


def needed_by(run: PlannedRun, audit: Audit, stacks: Stacks, *, first: bool) -> list[Needed]:
    """The protocols that measure a run, each with the stacks that it needs.

    A protocol that gives all replicates the same value measures the ``first`` one alone.
    """
    return [
        (each, stacks.needed(each, run, audit.pool))
        for each in audit.protocols
        if not each.is_shared or (first and not run.draw)
    ]


def _made(run: PlannedRun) -> Iterator[Step]:
    """Makes a model and computes its logits."""
    start = () if run.method in REFERENCES else (run.original,)
    yield Step(run.model, start, run)
    yield Step(run.logits, (run.model,), run)


def _stacked(stack: Stack) -> Iterator[Step]:
    """Makes several models and stacks their logits; they have no records of their own."""
    for run in with_originals(stack.runs):
        yield from _made(run)
    yield stacking(stack)


def stacking(stack: Stack) -> Step:
    """The step that stacks the logits of several models."""
    return Step(stack.id, tuple(run.logits for run in stack.runs), stack.runs[0])


def measurements(
    record: StepId,
    logits: StepId,
    retrained: Sequence[StepId],
    run: PlannedRun,
    protocols: Iterable[Needed],
) -> Iterator[Step]:
    """The steps that measure protocols on a run, from its logits and those of retraining."""
    for protocol, stacks in protocols:
        ids = [stack.id for stack in stacks]
        needs = (record, logits, *retrained, *ids)
        yield Step(measurement_of(record, protocol, ids), needs, run, protocol)


def tuning_home(scenario: Scenario, catalog: Catalog) -> Scenario:
    """The scenario on which this one's settings are tuned: itself, or its ``tuned_as``.

    Raises UserError if that is unknown, or names yet another one.
    """
    name = scenario.tuned_as
    if not name:
        return scenario
    what = f"scenario {scenario.name!r}: tuned_as"
    if name not in catalog.scenarios:
        raise UserError(f"{what}: {unknown('scenario', name, catalog.scenarios)}")
    home = catalog.scenarios[name]
    if home.tuned_as:
        raise UserError(
            f"{what} must name a scenario with tuned settings of its own; got {name!r}, which uses "
            f"those of {home.tuned_as!r}"
        )
    return home


def build_of(scenario: Scenario, catalog: Catalog) -> str:
    """The backbone's name; that of a plugin comes with the hash of its source."""
    return "@".join([scenario.backbone, *(s.hash for s in _build_sources(scenario, catalog))])


def _build_sources(scenario: Scenario, catalog: Catalog) -> list[Source]:
    """The source of the backbone, if it is neither timm's nor the harness's own."""
    known = catalog.backbones.get(scenario.backbone.partition("[")[0])
    source = backbone_source(known.build) if known else None
    return [source] if source else []
