"""Judges a method's settings on models and held-out images that are never reported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from harness.datasets.splits import substitute, tuning_rows
from harness.errors import UserError
from harness.leaderboard.rows import Row
from harness.leaderboard.table import tables
from harness.records.lines import DIVERGED
from harness.records.store import Store
from harness.records.store_lines import stored_lines
from harness.records.tuned import BUDGET, OVER, SLACK, Trial, tuning_problem
from harness.runs.audit import audit_of
from harness.runs.models import LoadedDataset
from harness.runs.plan import Entrant, Plan, Problem, build_of, make_plan
from harness.runs.pool import Resources, do_plan
from harness.runs.worker import Result
from harness.runs.workspace import Workspace
from harness.specs.catalog import Catalog
from harness.specs.method import Method
from harness.specs.scenario import RETRAIN, Replicate, Scenario
from harness.training.flops import OverBudgetError

FIRST_SEED = 2 * 10**9
"""The first seed for tuning; above the largest ``--seed``, so that no reported run can use it."""


def tuning_scenario(scenario: Scenario, dataset: LoadedDataset) -> Scenario:
    """The scenario on which methods are tuned for another one.

    It has a different forget set of the same kind, such as another class.
    """
    other = substitute(scenario, dataset.train.labels.cpu())
    return replace(scenario, forget=other, tuning=0.0)


class TuningWorkspace(Workspace):
    """A workspace whose test sets contain only the part reserved for tuning."""

    def __init__(
        self, store: Store, catalog: Catalog, data: Path, device: torch.device, share: float
    ) -> None:
        super().__init__(store, catalog, data, device)
        self.share = share
        self._parts: dict[str, LoadedDataset] = {}

    def dataset(self, name: str) -> LoadedDataset:
        """The data set, with its test set cut down to the tuning part."""
        if name not in self._parts:
            whole = super().dataset(name)
            rows = tuning_rows(self.share, whole.test.labels.cpu())
            self._parts[name] = replace(whole, test=whole.test.select(rows))
        return self._parts[name]


@dataclass(frozen=True, eq=False)
class TrialSetup:
    """Everything that the trials for one scenario share."""

    workspace: TuningWorkspace
    scenario: Scenario
    """The tuning scenario, on which the trials run."""
    replicates: tuple[Replicate, ...]
    fresh: tuple[Replicate, ...]
    """As many more, which no trial uses: the chosen settings are confirmed on them."""
    tuned_for: str
    """The hash of the scenario that settings are chosen for, by ``tuned.tuning_problem``."""
    resources: Resources
    """What the steps of one trial may use."""
    most_passes: float = math.inf
    """The most passes that one run of a method may take."""

    @classmethod
    def prepare(
        cls,
        scenario: Scenario,
        catalog: Catalog,
        *,
        store: Path,
        data: Path,
        device: torch.device,
        replicates: int,
        resources: Resources,
    ) -> TrialSetup:
        """Trains the originals and retrained models that are not in the store yet.

        ``resources`` are those of all methods together. Raises UserError for a scenario that
        reserves no part of the test set for tuning, or that uses the settings of another.
        """
        if scenario.tuned_as:
            raise UserError(
                f"scenario {scenario.name!r} uses the settings tuned for {scenario.tuned_as!r}; "
                f"give --scenario {scenario.tuned_as}"
            )
        if not scenario.tuning:
            raise UserError(
                f"scenario {scenario.name!r} reserves no part of the test set for tuning; give it "
                f"one, as in Scenario(…, tuning=0.5)"
            )
        own = _with_the_protocols_of_the_gap(catalog, scenario)
        workspace = TuningWorkspace(Store(store / "tuning"), own, data, device, scenario.tuning)
        workspace.store.open()
        dataset = workspace.dataset(scenario.dataset)
        problem = tuning_scenario(scenario, dataset)
        seeds = range(FIRST_SEED, FIRST_SEED + 2 * replicates)
        drawn = tuple(Replicate(seed, seed) for seed in seeds)
        setup = cls(
            workspace=workspace,
            scenario=problem,
            replicates=drawn[:replicates],
            fresh=drawn[replicates:],
            tuned_for=tuning_problem(scenario, dataset.fingerprint, build_of(scenario, catalog)),
            resources=resources,
        )
        dataset.require_rows(problem, drawn)
        workspace.try_backbones([problem], in_process=resources.workers == 0)
        references = replace(setup, replicates=drawn).plan([])
        if failures := setup.run(references):
            raise UserError(f"tuning in {scenario.name!r} failed: {failures[0].reason}")
        budget = BUDGET * SLACK * setup.passes_of_retraining(setup.plan([]))
        return replace(setup, most_passes=budget)

    def shared_by(self, methods: int) -> TrialSetup:
        """The setup with this method's share of the processes, of which it has at least one."""
        workers = self.resources.workers
        share = max(1, workers // methods) if workers else 0
        return replace(self, resources=replace(self.resources, workers=share))

    def on_fresh_originals(self) -> TrialSetup:
        """The same setup on originals and forget sets that no trial used."""
        return replace(self, replicates=self.fresh)

    def plan(self, entrants: Sequence[Entrant]) -> Plan:
        """The plan to run these entrants in the tuning scenario."""
        name = self.scenario.dataset
        audit = audit_of(self.scenario, self.workspace.catalog)
        problem = Problem(self.scenario, self.replicates, entrants, audit)
        fingerprints = {name: self.workspace.dataset(name).fingerprint}
        return make_plan([problem], self.workspace.catalog, fingerprints)

    def run(self, plan: Plan) -> list[Result]:
        """Does the steps of a plan that are not done yet; returns the failures."""
        outcome = do_plan(plan, self.workspace, self.resources, most_passes=self.most_passes)
        return [*outcome.failures.values()]

    def rows(self, plan: Plan) -> dict[str, Row]:
        """Method → its row in a table of the plan's runs, over all replicates."""
        ids = {step.id for step in plan.steps}
        lines = stored_lines(self.workspace.store, lambda _: None, ids)
        return {row.method: row for row in tables(lines)[0].rows}

    def passes_of_retraining(self, plan: Plan) -> float:
        """The mean passes of the retrained models."""
        spent = self.rows(plan)[RETRAIN].spending.passes
        assert spent is not None  # the retrained models did not fail
        return spent.mean

    def judge(self, method: Method, config: Any, settings: dict[str, Any]) -> Trial:
        """Runs the method with this config on every replicate; a trial with no gap has failed."""
        plan = self.plan([Entrant(method, config)])
        # the first run alone, since the others too would take the whole budget
        first = replace(self, replicates=self.replicates[:1]).plan([Entrant(method, config)])
        serial = self.resources.workers <= 1
        if failures := (serial and self.run(first)) or self.run(plan):
            if failures[0].cause == OverBudgetError.__name__:
                return Trial(settings, None, self.most_passes * len(self.replicates), OVER)
            return Trial(settings, None, 0.0, failures[0].reason)
        row = self.rows(plan)[method.name]
        spent = row.spending.passes
        assert spent is not None  # none of its runs failed
        passes = spent.mean * spent.n
        if spent.mean > self.most_passes:
            return Trial(settings, None, passes, OVER)
        if row.gap is None:
            diverged = DIVERGED in row.outcomes.by_status
            return Trial(settings, None, passes, DIVERGED if diverged else "not measured")
        return Trial(settings, round(row.gap.mean, 4), passes)


def _with_the_protocols_of_the_gap(catalog: Catalog, scenario: Scenario) -> Catalog:
    """The catalog with only the protocols whose metrics make up the average gap."""
    counted = ("accuracy", scenario.mia.partition(".")[0])
    own = {name: each for name, each in catalog.protocols.items() if name in counted}
    return replace(catalog, protocols=own)
