"""Chooses a method's settings by trials on models and images that no page reports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from harness.archive import stored_lines
from harness.bench import Bench
from harness.errors import UserError
from harness.forgetting import ClassFraction, ForgetRule, GivenRows, RandomFraction, WholeClass
from harness.models import Material
from harness.passes import OverBudgetError
from harness.plan import Entrant, Plan, make_plan
from harness.records import DIVERGED, identity
from harness.search import Choice, Setting
from harness.seeds import derive
from harness.sources import source_hash
from harness.specs import RETRAIN, Catalog, Method, Replicate, Scenario
from harness.splits import tuning_rows
from harness.standings import tables
from harness.store import Store
from harness.table import BUDGET, SLACK, Standing
from harness.tuned import Trial, Tuning
from harness.worker import FAILED, Event, work

FIRST_SEED = 2 * 10**9
"""No run of a page can have it: ``--seed`` ends before."""

WARM_UP = 8
"""Trials drawn at random before the sampler learns from them."""

WORST = 1000.0
"""The gap that the sampler is told of a trial that has none."""


def tuning_scenario(scenario: Scenario, material: Material) -> Scenario:
    """The problem that stands for a scenario while its methods are tuned.

    The same rule and size, but another class where the rule names one, and a random draw where it
    names rows.
    """
    return replace(scenario, forget=_other(scenario.forget, material), tuning=0.0)


def _other(rule: ForgetRule, material: Material) -> ForgetRule:
    match rule:
        case WholeClass(label):
            return WholeClass((label + 1) % material.classes)
        case ClassFraction(label, fraction):
            return ClassFraction((label + 1) % material.classes, fraction)
        case GivenRows(rows):
            return RandomFraction(len(set(rows)) / len(material.train))
        case _:
            return rule


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
    ) -> Ground:
        """Trains the originals and retrained models that the store lacks.

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
        problem = tuning_scenario(scenario, bench.material(scenario.dataset))
        ground = cls(bench, problem, tuple(Replicate(seed, seed) for seed in seeds), own)
        plan = ground.plan([])
        ground.do(plan)
        retrained = [each for each in ground.standings(plan) if each.method == RETRAIN]
        assert retrained[0].passes is not None  # a reference that fails ends the command
        bench.most_passes = BUDGET * SLACK * retrained[0].passes.mean
        return ground

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
        work(plan, self.bench, lambda e: failures.append(e) if e.what == FAILED else None, set())
        return failures

    def standings(self, plan: Plan) -> tuple[Standing, ...]:
        """What a page would show of the plan's rows, all replicates together."""
        ids = {step.at for step in plan.steps}
        lines = stored_lines(self.bench.store, lambda _: None, ids)
        return tables(lines)[0].standings

    def judge(self, method: Method, config: Any, settings: dict[str, Any]) -> Trial:
        """One trial: the method with these settings on every replicate."""
        plan = self.plan([Entrant(method, config)])
        failures = self.do(plan)
        if failures:
            last = failures[0].text.strip().splitlines()[-1]
            over = OverBudgetError.__name__ in last
            spent = self.bench.most_passes * len(self.replicates) if over else 0.0
            return Trial(settings, None, spent, "over the budget" if over else last)
        row = next(s for s in self.standings(plan) if s.method == method.name)
        assert row.passes is not None  # none of its runs failed
        passes = row.passes.mean * row.passes.n
        if row.passes.mean > self.bench.most_passes:
            return Trial(settings, None, passes, "over the budget")
        if row.gap is None:
            return Trial(settings, None, passes, DIVERGED if row.diverged else "not measured")
        return Trial(settings, round(row.gap.mean, 4), passes)


def tune(
    method: Method, ground: Ground, trials: int, told: Callable[[int], None] = lambda _: None
) -> Tuning:
    """The method after that many trials, of which those done before are not done again.

    ``told`` hears the number of trials done. Each trial's draw depends on its number and on the
    trials before it alone, so that an interrupted tuning ends as an uninterrupted one.
    """
    from optuna import create_study  # noqa: PLC0415 - no other verb pays for it
    from optuna import logging as talk  # noqa: PLC0415
    from optuna.storages import JournalStorage  # noqa: PLC0415
    from optuna.storages.journal import JournalFileBackend  # noqa: PLC0415
    from optuna.trial import TrialState  # noqa: PLC0415

    talk.set_verbosity(logging.WARNING)
    folder = ground.bench.store.root / "studies"
    folder.mkdir(parents=True, exist_ok=True)
    name = _study(method, ground)
    storage = JournalStorage(JournalFileBackend(str(folder / f"{method.name}-{name}.log")))
    study = create_study(storage=storage, study_name=name, load_if_exists=True)
    for broken_off in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(broken_off.number, state=TrialState.FAIL)
    done = [_trial(each) for each in study.get_trials(states=(TrialState.COMPLETE,))]
    for number in range(len(done), trials):
        told(number)
        study.sampler = _sampler(method, number)
        asked = study.ask(_distributions(method))
        settings = dict(asked.params)
        try:
            trial = ground.judge(method, replace(method.config, **settings), settings)
        except (ValueError, TypeError) as error:
            trial = Trial(settings, None, 0.0, f"refused: {error}")
        asked.set_user_attr("trial", {"passes": trial.passes, "note": trial.note})
        study.tell(asked, WORST if trial.gap is None else trial.gap)
        done.append(trial)
    return Tuning(source_hash(method.unlearn), len(ground.replicates), tuple(done[:trials]))


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
            "source": source_hash(method.unlearn),
            "search": dict(method.search),
        }
    )


def _sampler(method: Method, number: int) -> Any:
    from optuna.samplers import TPESampler  # noqa: PLC0415

    seed = derive(FIRST_SEED, f"{method.name}/trial/{number}") % 2**32
    return TPESampler(seed=seed, n_startup_trials=WARM_UP)


def _distributions(method: Method) -> dict[str, Any]:
    return {
        name: _distribution(setting, whole=isinstance(getattr(method.config, name), int))
        for name, setting in method.search.items()
    }


def _distribution(setting: Setting, *, whole: bool) -> Any:
    from optuna.distributions import (  # noqa: PLC0415
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(setting, Choice):
        return CategoricalDistribution(setting.options)
    if whole:
        return IntDistribution(int(setting.low), int(setting.high), log=setting.log)
    return FloatDistribution(setting.low, setting.high, log=setting.log)


def _trial(asked: Any) -> Trial:
    gap = None if asked.value == WORST else asked.value
    return Trial(dict(asked.params), gap, **asked.user_attrs["trial"])
