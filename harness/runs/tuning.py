"""Chooses a method's settings by trials on models and images that no page reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from harness.datasets.splits import substitute, tuning_rows
from harness.errors import UserError
from harness.leaderboard.rows import BUDGET, SLACK, Row
from harness.leaderboard.table import tables
from harness.plugins.source_hash import method_hash
from harness.records.lines import DIVERGED, identity
from harness.records.store import Store, StoreError
from harness.records.stored import stored_lines
from harness.records.tuned import Trial, Tuning, problem_of
from harness.runs.models import Material
from harness.runs.plan import Entrant, Plan, build_of, make_plan
from harness.runs.pool import Means, work
from harness.runs.steps import Bench
from harness.runs.studies import distributions, opened, sampler
from harness.runs.worker import FAILED, Event
from harness.seeds import derive
from harness.specs.catalog import Catalog
from harness.specs.method import Method
from harness.specs.scenario import RETRAIN, Replicate, Scenario
from harness.training.flops import OverBudgetError

FIRST_SEED = 2 * 10**9
"""No run of a page can have it: ``--seed`` ends before."""

OTHER = "another `unlearn tune` is at it; this one waits for its trials"

WORST = 1000.0
"""The gap that the sampler is told of a trial that has none."""


def tuning_scenario(scenario: Scenario, material: Material) -> Scenario:
    """The problem that stands for a scenario while its methods are tuned.

    Its forget rule says what is forgotten instead, such as another class.
    """
    other = substitute(scenario, material.train.labels.cpu())
    return replace(scenario, forget=other, tuning=0.0)


class TuningBench(Bench):
    """A bench that sees the tuning part of a test set alone."""

    def __init__(
        self, store: Store, catalog: Catalog, data: Path, device: torch.device, share: float
    ) -> None:
        super().__init__(store, catalog, data, device)
        self.share = share
        self._halves: dict[str, Material] = {}

    def material(self, dataset: str) -> Material:
        """The data set with the tuning part of its test set in place of the whole."""
        if dataset not in self._halves:
            whole = super().material(dataset)
            rows = tuning_rows(self.share, whole.test.labels.cpu())
            self._halves[dataset] = replace(whole, test=whole.test.select(rows))
        return self._halves[dataset]


@dataclass(frozen=True, eq=False)
class Ground:
    """All that the trials of one scenario share: the bench, the problem, the originals."""

    bench: TuningBench
    scenario: Scenario
    replicates: tuple[Replicate, ...]
    catalog: Catalog
    stands_for: str
    """What ``tuned.problem_of`` gives for the scenario that is tuned for."""
    means: Means
    """What the steps of one trial may take, a method's passes among it."""

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
        counted = scenario.mia.partition(".")[0]
        own = replace(
            catalog,
            protocols={
                name: protocol
                for name, protocol in catalog.protocols.items()
                if name in ("accuracy", counted)
            },
        )
        bench = TuningBench(Store(store / "tuning"), own, data, device, scenario.tuning)
        bench.store.open()
        seeds = range(FIRST_SEED, FIRST_SEED + replicates)
        material = bench.material(scenario.dataset)
        problem = tuning_scenario(scenario, material)
        stands_for = problem_of(scenario, material.fingerprint, build_of(scenario, catalog))
        replicated = tuple(Replicate(seed, seed) for seed in seeds)
        ground = cls(bench, problem, replicated, own, stands_for, means)
        bench.try_backbones([problem], apart=means.workers > 0)
        plan = ground.plan([])
        ground.do(plan)
        retrained = [each for each in ground.rows(plan) if each.method == RETRAIN]
        spent = retrained[0].spending.passes
        assert spent is not None  # a reference that fails ends the command
        most = BUDGET * SLACK * spent.mean
        alone = min(means.workers, 1)  # a method's trials come one after the other
        return replace(ground, means=replace(means, workers=alone, most_passes=most))

    def plan(self, entrants: Iterable[Entrant]) -> Plan:
        """The steps of these entrants on the tuning problem."""
        dataset = self.scenario.dataset
        fingerprint = self.bench.material(dataset).fingerprint
        return make_plan(
            [(self.scenario, self.replicates, entrants)], self.catalog, {dataset: fingerprint}
        )

    def do(self, plan: Plan) -> list[Event]:
        """Does what is missing of a plan; gives the failures."""
        failures: list[Event] = []

        def note(event: Event) -> None:
            if event.what == FAILED:
                failures.append(event)

        work(plan, self.bench, note, self.means)
        return failures

    def rows(self, plan: Plan) -> tuple[Row, ...]:
        """What a page would show of the plan's rows, all replicates together."""
        ids = {step.at for step in plan.steps}
        lines = stored_lines(self.bench.store, lambda _: None, ids)
        return tables(lines)[0].rows

    def judge(self, method: Method, config: Any, settings: dict[str, Any]) -> Trial:
        """One trial: the method with these settings on every replicate."""
        plan = self.plan([Entrant(method, config)])
        failures = self.do(plan)
        if failures:
            over = failures[0].cause == OverBudgetError.__name__
            spent = self.means.most_passes * len(self.replicates) if over else 0.0
            return Trial(settings, None, spent, "over the budget" if over else failures[0].reason)
        row = next(each for each in self.rows(plan) if each.method == method.name)
        took = row.spending.passes
        assert took is not None  # none of its runs failed
        passes = took.mean * took.n
        if took.mean > self.means.most_passes:
            return Trial(settings, None, passes, "over the budget")
        if row.gap is None:
            diverged = DIVERGED in row.outcomes.by_status
            return Trial(settings, None, passes, DIVERGED if diverged else "not measured")
        return Trial(settings, round(row.gap.mean, 4), passes)


def tune(
    method: Method,
    ground: Ground,
    trials: int,
    told: Callable[[int], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Tuning:
    """The method after that many trials, of which those done before are not done again.

    ``told`` hears the number of trials done. Each trial's draw depends on its number and on the
    trials before it alone, so that an interrupted tuning ends as an uninterrupted one. Where
    another command is at the same trials, ``say`` hears it, and this one waits and uses them.
    """
    store = ground.bench.store
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


def _next(study: Any, method: Method, ground: Ground, number: int) -> Trial:
    """Asks for the next settings, tries them, and tells the study how good they are."""
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
    """The name of all trials that may stand beside each other."""
    return identity(
        {
            "problem": ground.plan([]).steps[0].key,
            "forget": ground.scenario.forget,
            "access": ground.scenario.retain_access,
            "mia": ground.scenario.mia,
            "replicates": len(ground.replicates),
            "share": ground.bench.share,
            "method": method.name,
            "config": method.config,
            "source": method_hash(method),
            "search": dict(method.search),
        }
    )


def _trial(asked: Any) -> Trial:
    gap = None if asked.value == WORST else asked.value
    return Trial(dict(asked.params), gap, **asked.user_attrs["trial"])
