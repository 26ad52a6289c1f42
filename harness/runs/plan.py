"""From what was asked to the graph of steps, each named by the hash of what it asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from harness.plugins.rules import rule_source
from harness.plugins.source_hash import Source, method_source, source_of
from harness.records.lines import identity, plain
from harness.records.stored import MEASUREMENT, RUN
from harness.records.tuned import Tuning
from harness.records.tuned import problem_of as tuning_problem
from harness.specs.catalog import Catalog
from harness.specs.method import Method
from harness.specs.protocol import Protocol
from harness.specs.scenario import ORIGINAL, RETRAIN, RETRAIN_DRAWS, Replicate, Scenario
from harness.version import CODE

MODEL, LOGITS = "models", "logits"
KINDS = (MODEL, LOGITS, RUN, MEASUREMENT)
"""The kinds of step, which are the folders of the store."""


@dataclass(frozen=True)
class Entrant:
    """A method with the settings that it runs with."""

    method: Method
    config: Any
    chosen: str = ""
    """How the config was chosen, where it is neither the method's own nor tuned."""
    tuning: Tuning | None = None
    """Whose best settings the config holds."""
    tuning_passes: float = 0.0

    def chosen_for(self, source: str, problem: str) -> str:
        """How the config was chosen, as a row of this source and tuning problem says it."""
        return self.chosen or (self.tuning.chosen(source, problem) if self.tuning else "")


@dataclass(frozen=True)
class Row:
    """One run: a method with its settings in one replicate of a scenario."""

    scenario: Scenario
    replicate: Replicate
    method: str
    config: Any
    draw: int
    source: str
    fingerprint: str
    build: str = ""
    """The backbone's name; that of a plugin with the hash of its source."""
    class_name: str = ""
    """Of the class that is forgotten, where the data set names it; no part of the run's name."""
    described: str = ""
    """What is forgotten, with the names of classes; no part of the run's name."""
    chosen: str = ""
    """How the config was chosen; no part of the run's name."""
    tuning_passes: float = 0.0

    def __str__(self) -> str:
        draw = f" {self.draw + 1}/{RETRAIN_DRAWS}" if self.method == RETRAIN else ""
        return f"{self.method}{draw} · {self.scenario.name} · seed {self.replicate.seed}"


@dataclass(frozen=True)
class Step:
    """A piece of work whose result the store keeps under ``(kind, key)``."""

    kind: str
    key: str
    needs: tuple[tuple[str, str], ...]
    """(kind, key) of the steps that must be done before."""
    row: Row
    protocol: Protocol | None = None

    @property
    def at(self) -> tuple[str, str]:
        """Its place in the store."""
        return self.kind, self.key


@dataclass(frozen=True)
class Plan:
    """Steps in an order in which they can be done, and what has no step."""

    steps: tuple[Step, ...]
    undefined: Mapping[tuple[str, str], str]
    """(scenario, method) → why the method is not defined there."""
    unread: int = 0  # steps whose results a newer version of this program wrote
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Hash → source, of all methods and of plugins' backbones and forget rules."""

    def edited(self, row: Row) -> str:
        """The module whose text changed before this row's run imported it; empty for none.

        Asked after a step, in its process: its result is not what the row's name says.
        """
        hashes = (row.source, row.build.rpartition("@")[2], row.scenario.forget.source)
        found = (self.sources[each].edited() for each in hashes if each in self.sources)
        return next((module for module in found if module), "")


def make_plan(
    problems: Iterable[tuple[Scenario, Iterable[Replicate], Iterable[Entrant]]],
    catalog: Catalog,
    fingerprints: Mapping[str, str],
    classes: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Plan:
    """All steps of scenarios × replicates × (references and entrants).

    ``fingerprints`` maps data sets to the hash of their content, ``classes`` those that name their
    classes to the names, which are no part of any step's name.
    """
    steps: dict[tuple[str, str], Step] = {}
    undefined: dict[tuple[str, str], str] = {}
    sources: dict[str, Source] = {}
    for scenario, replicates, entrants in problems:
        fingerprint, build = fingerprints[scenario.dataset], build_of(scenario, catalog)
        tuned_for = tuning_problem(scenario, fingerprint, build)
        for own in (_build_source(scenario, catalog), rule_source(scenario.forget)):
            if own:
                sources[own.hash] = own
        defined: list[tuple[Entrant, str]] = []
        for entrant in entrants:
            reason = entrant.method.undefined_because(scenario)
            if reason:
                undefined[scenario.name, entrant.method.name] = reason
            else:
                source = method_source(entrant.method)
                sources[source.hash] = source
                chosen = entrant.chosen_for(source.hash, tuned_for)
                defined.append((replace(entrant, chosen=chosen), source.hash))
        names = classes.get(scenario.dataset, ())
        name, described = scenario.forget.class_name(names), scenario.forget.describe(names)
        problem = _Problem(scenario, fingerprint, build, name, described)
        for replicate in replicates:
            for step in problem.steps(replicate, defined, catalog.protocols.values()):
                steps.setdefault(step.at, step)
    return Plan(tuple(steps.values()), undefined, sources=sources)


@dataclass(frozen=True)
class _Problem:
    """A scenario with all that its models' names depend on."""

    scenario: Scenario
    fingerprint: str
    backbone: str
    """Its name; that of a plugin with the hash of its source."""
    class_name: str = ""
    described: str = ""

    def steps(
        self,
        replicate: Replicate,
        entrants: Iterable[tuple[Entrant, str]],
        protocols: Iterable[Protocol],
    ) -> Iterable[Step]:
        """Those of one replicate; each entrant comes with the hash of its method's source."""
        original = self._row(replicate, ORIGINAL)
        rows = {(MODEL, self.original(replicate)): original}
        for draw in range(RETRAIN_DRAWS):
            rows[MODEL, self.retrained(replicate, draw)] = self._row(replicate, RETRAIN, draw=draw)
        for entrant, source in entrants:
            row = replace(
                self._row(replicate, entrant.method.name),
                config=entrant.config,
                source=source,
                chosen=entrant.chosen,
                tuning_passes=entrant.tuning_passes,
            )
            rows[MODEL, self.unlearned(replicate, row)] = row
        original_logits, *references = self.references(replicate)
        for model, row in rows.items():
            needs = (
                () if row.method in (ORIGINAL, RETRAIN) else ((MODEL, self.original(replicate)),)
            )
            yield Step(*model, needs, row)
            yield Step(*logits_of(model[1]), (model,), row)
            run = RUN, self.run_id(row)
            own = (model, logits_of(model[1]))
            yield Step(*run, (*own, original_logits, *references), row)
            behind = (run, logits_of(model[1]), *references)
            for protocol in protocols:
                yield measurement_step(behind, protocol, row)

    def _row(self, replicate: Replicate, method: str, *, draw: int = 0) -> Row:
        return Row(
            scenario=self.scenario,
            replicate=replicate,
            method=method,
            config=None,
            draw=draw,
            source="",
            fingerprint=self.fingerprint,
            build=self.backbone,
            class_name=self.class_name,
            described=self.described,
        )

    def original(self, replicate: Replicate) -> str:
        """The name of the original model, which does not depend on what is forgotten."""
        scenario = self.scenario
        return identity(
            {
                "code": CODE,
                "model": ORIGINAL,
                "data": self.fingerprint,
                "backbone": self.backbone,
                "stem": scenario.stem,
                "recipe": scenario.recipe,
                "held out": scenario.held_out,
                "seed": replicate.seed,
            }
        )

    def retrained(self, replicate: Replicate, draw: int) -> str:
        """The name of a retrained model, which does not depend on what a method may see."""
        return identity(
            {
                "model": RETRAIN,
                "instead of": self.original(replicate),
                "forget": self.scenario.forget,
                "forget seed": replicate.forget_seed,
                "draw": draw,
            }
        )

    def references(self, replicate: Replicate) -> list[tuple[str, str]]:
        """Where the logits of the original and of the K retrained models lie."""
        retrained = [self.retrained(replicate, draw) for draw in range(RETRAIN_DRAWS)]
        return [logits_of(key) for key in (self.original(replicate), *retrained)]

    def unlearned(self, replicate: Replicate, row: Row) -> str:
        """The name of an unlearned model."""
        return identity(
            {
                "model": row.method,
                "config": row.config,
                "source": row.source,
                "original": self.original(replicate),
                "forget": self.scenario.forget,
                "forget seed": replicate.forget_seed,
                "access": self.scenario.retain_access,
            }
        )

    def run_id(self, row: Row) -> str:
        """The name of a run: everything that was asked, whatever is measured on it later."""
        return identity(
            {
                "code": CODE,
                "data": self.fingerprint,
                "backbone": self.backbone,
                "scenario": problem_of(self.scenario),
                "replicate": row.replicate,
                "method": row.method,
                "config": row.config,
                "source": row.source,
                "draw": row.draw,
            }
        )


def run_id_of(row: Row) -> str:
    """The name of the run that a row is."""
    return _Problem(row.scenario, row.fingerprint, row.build).run_id(row)


def logits_of(model: str) -> tuple[str, str]:
    """Where the logits of a model lie in the store."""
    return LOGITS, identity({"logits of": model})


def measurement_step(needs: tuple[tuple[str, str], ...], protocol: Protocol, row: Row) -> Step:
    """The step that measures one protocol on a run, which is the first of its needs."""
    key = identity({"run": needs[0][1], "protocol": protocol.name, "version": protocol.version})
    return Step(MEASUREMENT, key, needs, row, protocol)


def problem_of(scenario: Scenario) -> dict[str, Any]:
    """A scenario without that which only its page depends on."""
    fields = dict(plain(scenario))
    return {name: fields[name] for name in fields if name not in ("mia", "replicates")}


def build_of(scenario: Scenario, catalog: Catalog) -> str:
    """The backbone's name; that of a plugin with the hash of its source."""
    source = _build_source(scenario, catalog)
    return f"{scenario.backbone}@{source.hash}" if source else scenario.backbone


def _build_source(scenario: Scenario, catalog: Catalog) -> Source | None:
    plugin = catalog.backbones.get(scenario.backbone.partition("[")[0])
    return source_of(plugin.build) if plugin else None
