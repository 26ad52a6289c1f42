"""Chooses methods' settings by trials on models and held-out images that no page reports."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from harness.datasets.splits import substitute, tuning_rows
from harness.errors import UserError
from harness.isolation.processes import Processes
from harness.leaderboard.rows import BUDGET, SLACK, Row
from harness.leaderboard.table import tables
from harness.plugins.source_hash import method_hash
from harness.records.lines import DIVERGED, identity
from harness.records.store import Store, StoreError
from harness.records.stored import stored_lines
from harness.records.tuned import Trial, Tuning, problem_of, tuning_of
from harness.runs.models import LoadedDataset
from harness.runs.plan import Entrant, Plan, Problem, build_of, make_plan
from harness.runs.pool import Means, do_plan
from harness.runs.studies import distributions, opened, sampler
from harness.runs.warm import warm
from harness.runs.worker import Result
from harness.runs.workspace import Workspace
from harness.seeds import derive
from harness.specs.catalog import Catalog
from harness.specs.method import Method
from harness.specs.scenario import RETRAIN, Replicate, Scenario
from harness.training.flops import OverBudgetError

FIRST_SEED = 2 * 10**9
"""Beyond the largest ``--seed``, so that no reported run can have it."""

OTHER = "another `unlearn tune` is tuning it; waiting for its trials"
OVER = "over the budget"

MISTAKE = "mistake"

ROOM = 1 << 26
"""Bytes for what a process says about ten thousand trials."""

WORST = 1000.0
"""The gap that the sampler is told for a trial that has none."""


def tuning_scenario(scenario: Scenario, dataset: LoadedDataset) -> Scenario:
    """The problem that stands in for a scenario while its methods are tuned.

    Its forget rule says what is forgotten instead, such as another class.
    """
    other = substitute(scenario, dataset.train.labels.cpu())
    return replace(scenario, forget=other, tuning=0.0)


class TuningWorkspace(Workspace):
    """A workspace that sees the tuning part of each test set alone."""

    def __init__(
        self, store: Store, catalog: Catalog, data: Path, device: torch.device, share: float
    ) -> None:
        super().__init__(store, catalog, data, device)
        self.share = share
        self._parts: dict[str, LoadedDataset] = {}

    def dataset(self, name: str) -> LoadedDataset:
        """The data set with the tuning part of its test set in place of the whole."""
        if name not in self._parts:
            whole = super().dataset(name)
            rows = tuning_rows(self.share, whole.test.labels.cpu())
            self._parts[name] = replace(whole, test=whole.test.select(rows))
        return self._parts[name]


@dataclass(frozen=True, eq=False)
class Ground:
    """All that the trials of one scenario share."""

    workspace: TuningWorkspace
    scenario: Scenario
    """The problem that the trials are made on."""
    replicates: tuple[Replicate, ...]
    stands_for: str
    """What ``tuned.problem_of`` gives for the scenario that is tuned for."""
    means: Means
    """What the steps of one trial may use."""
    most_passes: float = math.inf
    """The budget of one run of a method."""

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
        means: Means,
    ) -> Ground:
        """Trains the originals and retrained models that the store lacks, by these means.

        Raises UserError for a scenario that reserves no part of the test set for tuning.
        """
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
        seeds = range(FIRST_SEED, FIRST_SEED + replicates)
        ground = cls(
            workspace=workspace,
            scenario=problem,
            replicates=tuple(Replicate(seed, seed) for seed in seeds),
            stands_for=problem_of(scenario, dataset.fingerprint, build_of(scenario, catalog)),
            means=means,
        )
        workspace.try_backbones([problem], in_process=means.workers == 0)
        plan = ground.plan([])
        if failures := ground.do(plan):
            raise UserError(f"tuning in {scenario.name!r} failed: {failures[0].reason}")
        alone = min(means.workers, 1)  # a method's trials come one after the other
        return replace(
            ground,
            means=replace(means, workers=alone),
            most_passes=BUDGET * SLACK * ground.passes_of_retraining(plan),
        )

    def plan(self, entrants: Sequence[Entrant]) -> Plan:
        """The steps of these entrants on the tuning problem."""
        name = self.scenario.dataset
        problem = Problem(self.scenario, self.replicates, entrants)
        fingerprints = {name: self.workspace.dataset(name).fingerprint}
        return make_plan([problem], self.workspace.catalog, fingerprints)

    def do(self, plan: Plan) -> list[Result]:
        """Does what is missing of a plan; returns the failures."""
        outcome = do_plan(plan, self.workspace, self.means, most_passes=self.most_passes)
        return [*outcome.failures.values()]

    def passes_of_retraining(self, plan: Plan) -> float:
        """The mean over the retrained models."""
        row = next(each for each in self.rows(plan) if each.method == RETRAIN)
        assert row.spending.passes is not None  # the retrained models did not fail
        return row.spending.passes.mean

    def rows(self, plan: Plan) -> tuple[Row, ...]:
        """The rows of a page made of the plan's runs, all replicates together."""
        ids = {step.id for step in plan.steps}
        lines = stored_lines(self.workspace.store, lambda _: None, ids)
        return tables(lines)[0].rows

    def judge(self, method: Method, config: Any, settings: dict[str, Any]) -> Trial:
        """One trial: the method with these settings on every replicate."""
        plan = self.plan([Entrant(method, config)])
        failures = self.do(plan)
        if failures:
            over = failures[0].cause == OverBudgetError.__name__
            spent = self.most_passes * len(self.replicates) if over else 0.0
            return Trial(settings, None, spent, OVER if over else failures[0].reason)
        row = next(each for each in self.rows(plan) if each.method == method.name)
        took = row.spending.passes
        assert took is not None  # none of its runs failed
        passes = took.mean * took.n
        if took.mean > self.most_passes:
            return Trial(settings, None, passes, OVER)
        if row.gap is None:
            diverged = DIVERGED in row.outcomes.by_status
            return Trial(settings, None, passes, DIVERGED if diverged else "not measured")
        return Trial(settings, round(row.gap.mean, 4), passes)


def _with_the_protocols_of_the_gap(catalog: Catalog, scenario: Scenario) -> Catalog:
    """The catalog with just the protocols that the average gap is made of."""
    counted = ("accuracy", scenario.mia.partition(".")[0])
    own = {name: each for name, each in catalog.protocols.items() if name in counted}
    return replace(catalog, protocols=own)


def tune(
    method: Method,
    ground: Ground,
    trials: int,
    told: Callable[[int], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Tuning:
    """The result of that many trials of a method; those done before are not repeated.

    ``told`` hears the number of trials done. What a trial draws depends only on its number and on
    the trials before it, so that an interrupted tuning ends as an uninterrupted one. If another
    command is making the same trials, ``say`` hears it, and this one waits for them and uses them.
    """
    store = ground.workspace.store
    path = store.root / "studies" / f"{method.name}-{_study(method, ground)}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened(path, lambda: say(f"{method.name}: {OTHER}")) as study:
            done = [_trial(each) for each in study.get_trials() if each.state.name == "COMPLETE"]
            for number in range(len(done), trials):
                told(number)
                done.append(_next(study, method, ground, number))
    except OSError as error:
        raise StoreError(f"cannot write to --store {store.root}: {error.strerror}") from None
    source = method_hash(method)
    return Tuning(source, len(ground.replicates), tuple(done[:trials]), ground.stands_for)


def tune_each(
    methods: Sequence[str],
    ground: Ground,
    trials: int,
    workers: int,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[str, Tuning | str]]:
    """Each method's tuning as soon as it is done, or how its process died.

    Every method has a process of its own, ``workers`` of them at once, which forks another for each
    step. Raises UserError if the command cannot go on.
    """

    def work(name: str) -> dict[str, Any]:
        try:
            return asdict(tune(ground.workspace.catalog.methods[name], ground, trials, say=say))
        except UserError as error:
            return {MISTAKE: str(error)}

    warm()
    with Processes() as processes:
        for name, ending in processes.each({n: partial(work, n) for n in methods}, workers, ROOM):
            if ending.returned is None:
                yield name, ending.cause
            elif MISTAKE in ending.returned:
                raise UserError(ending.returned[MISTAKE])
            else:
                yield name, tuning_of(ending.returned)


def _next(study: Any, method: Method, ground: Ground, number: int) -> Trial:
    """Draws the next settings, tries them, and tells the study how good they are."""
    study.sampler = sampler(derive(FIRST_SEED, f"{method.name}/trial/{number}"))
    asked = study.ask(distributions(method))
    settings = dict(asked.params)
    try:
        trial = ground.judge(method, replace(method.config, **settings), settings)
    except (ValueError, TypeError) as error:
        trial = Trial(settings, None, 0.0, f"refused: {error}")
    asked.set_user_attr("trial", {"passes": trial.passes, "note": trial.note})
    study.tell(asked, WORST if trial.gap is None else trial.gap)
    return trial


def _study(method: Method, ground: Ground) -> str:
    """The name shared by all trials that can be compared."""
    return identity(
        {
            "problem": ground.plan([]).steps[0].id.key,
            "forget": ground.scenario.forget,
            "access": ground.scenario.retain_access,
            "mia": ground.scenario.mia,
            "replicates": len(ground.replicates),
            "share": ground.workspace.share,
            "method": method.name,
            "config": method.config,
            "source": method_hash(method),
            "search": dict(method.search),
        }
    )


def _trial(asked: Any) -> Trial:
    gap = None if asked.value == WORST else asked.value
    return Trial(dict(asked.params), gap, **asked.user_attrs["trial"])
