"""Tuning: equally many trials within a budget, on models and images never reported."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from harness import Choice, Data, Dataset, Method, Span, UserError, fine_tune
from harness.datasets.splits import split, tuning_rows
from harness.plugins.catalog import load_catalog
from harness.records.store import Store
from harness.records.tuned import BUDGET
from harness.runs.pool import Resources
from harness.runs.trials import FIRST_SEED, TrialSetup, tuning_scenario
from harness.runs.tuning import tune
from harness.runs.workspace import Workspace
from harness.specs.forgetting import ClassFraction, GivenRows, RandomFraction, WholeClass
from harness.specs.scenario import Replicate

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Config:
    epochs: int = 1
    lr: float = 0.1
    kind: str = "a"


def unlearn(task, config):
    return fine_tune(task, task.retain, epochs=config.epochs, lr=config.lr)


SEARCH = {"epochs": Span(0, 3), "lr": Span(1e-3, 1.0, log=True), "kind": Choice(("a", "b"))}
METHOD = Method("mine", unlearn, Config(), search=SEARCH)


@pytest.fixture(scope="module")
def catalog():
    tiny = load_catalog([str(TESTS / "fixtures" / "tiny.py")])
    return replace(tiny, methods={**tiny.methods, "mine": METHOD})


def prepare(catalog, store, replicates=1):
    return TrialSetup.prepare(
        catalog.scenarios["tiny"],
        catalog,
        store=Path(store),
        data=Path("data"),
        device=torch.device("cpu"),
        replicates=replicates,
        resources=Resources(),
    )


def test_a_method_is_tuned_by_the_requested_number_of_trials(catalog, tmp_path):
    tuning = tune(METHOD, prepare(catalog, tmp_path), 4)

    assert len(tuning.trials) == 4
    assert len({json.dumps(trial.settings) for trial in tuning.trials}) == 4
    assert all(0 <= trial.settings["epochs"] <= 3 for trial in tuning.trials)
    assert tuning.best.gap == min(t.gap for t in tuning.confirmed if t.gap is not None)


def test_the_first_trials_are_the_defaults_and_points_around_them(catalog, tmp_path):
    setup = prepare(catalog, tmp_path)
    within = replace(METHOD, config=Config(epochs=0, lr=0.1, kind="b"))

    tuning = tune(within, setup, 4)

    rates = [trial.settings["lr"] for trial in tuning.trials]
    assert rates[:3] == [0.1, 0.03333, 0.3]
    assert [t.settings["kind"] for t in tuning.trials[:3]] == ["b"] * 3
    assert rates[3] not in rates[:3]


def test_the_kept_settings_are_the_best_on_originals_that_no_trial_used(catalog, tmp_path):
    setup = prepare(catalog, tmp_path)
    method = replace(METHOD, config=Config(epochs=0))

    tuning = tune(method, setup, 8)

    fresh = setup.on_fresh_originals()
    again = [fresh.judge(method, replace(Config(), **t.settings), t) for t in tuning.confirmed]
    assert not {r.seed for r in setup.replicates} & {r.seed for r in fresh.replicates}
    assert [trial.gap for trial in again] == [trial.gap for trial in tuning.confirmed]
    assert tuning.confirmed[0].settings == tuning.trials[0].settings
    assert len(tuning.confirmed) == 4
    assert tuning.best.gap == min(trial.gap for trial in again)
    assert tuning.passes == sum(t.passes for t in (*tuning.trials, *tuning.confirmed))


def test_a_setting_without_a_part_is_not_searched(catalog, tmp_path):
    random_labels = catalog.methods["random-labels"]
    scenario = catalog.scenarios["tiny"]

    granted = tune(random_labels, prepare(catalog, tmp_path), 2)
    blind = random_labels.searched(replace(scenario, retain_access=0))

    assert [{*trial.settings} for trial in granted.trials] == [{"epochs", "lr"}] * 2
    assert {*blind} == {"epochs_without_retain", "lr_without_retain"}


def test_a_command_killed_after_it_chose_a_first_point_tries_it_once(catalog, tmp_path):
    setup = prepare(catalog, tmp_path / "a")
    whole = tune(METHOD, prepare(catalog, tmp_path / "b"), 4)
    tune(METHOD, setup, 1)
    (journal,) = (tmp_path / "a" / "tuning" / "studies").glob("*.log")
    load_study(journal).enqueue_trial(dict(whole.trials[1].settings))

    continued = tune(METHOD, setup, 4)

    assert continued.trials == whole.trials


def test_fewer_methods_than_processes_share_them(catalog, tmp_path):
    setup = replace(prepare(catalog, tmp_path), resources=Resources(workers=5))

    shares = [setup.shared_by(count).resources.workers for count in (1, 2, 5, 9)]

    assert shares == [5, 2, 1, 1]
    assert replace(setup, resources=Resources()).shared_by(2).resources.workers == 0


def test_a_scenario_with_the_settings_of_another_is_not_tuned(catalog, tmp_path):
    scenarios = {"tiny": replace(catalog.scenarios["tiny"], tuned_as="tiny-long")}

    with pytest.raises(UserError, match="uses the settings tuned for 'tiny-long'; give --scenario"):
        prepare(replace(catalog, scenarios=scenarios), tmp_path)


def test_a_trial_over_the_budget_has_no_gap_and_costs_no_more_than_the_budget(catalog, tmp_path):
    setup = prepare(catalog, tmp_path)

    over = setup.judge(METHOD, Config(epochs=2), {"epochs": 2})
    within = setup.judge(METHOD, Config(epochs=0), {"epochs": 0})

    assert (over.gap, over.note) == (None, "over the budget")  # 2 of 2 epochs are all of them
    assert over.passes == pytest.approx(setup.most_passes)
    assert within.gap is not None
    retrained = setup.rows(setup.plan([]))["retrain"]
    assert setup.most_passes == pytest.approx(BUDGET * retrained.spending.passes.mean, rel=0.01)


def test_a_trial_over_the_budget_is_run_once_and_not_on_every_original(catalog, tmp_path):
    calls = []

    def counted(task, config):
        calls.append(config)
        return unlearn(task, config)

    method = Method("counted", counted, Config())
    own = replace(catalog, methods={**catalog.methods, "counted": method})
    setup = prepare(own, tmp_path, replicates=2)

    over = setup.judge(method, Config(epochs=2), {})
    calls_over = len(calls)
    setup.judge(method, Config(epochs=0), {})

    assert over.passes == pytest.approx(2 * setup.most_passes)
    assert (calls_over, len(calls)) == (1, 3)


def test_an_interrupted_tuning_ends_like_an_uninterrupted_one(catalog, tmp_path):
    whole = tune(METHOD, prepare(catalog, tmp_path / "a"), 10)

    def interrupt(number):
        if number == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(METHOD, prepare(catalog, tmp_path / "b"), 10, interrupt)
    numbers = []
    continued = tune(METHOD, prepare(catalog, tmp_path / "b"), 10, numbers.append)

    assert numbers == [5, 6, 7, 8, 9]
    assert [t.settings for t in continued.trials] == [t.settings for t in whole.trials]
    assert [t.gap for t in continued.trials] == [t.gap for t in whole.trials]


def test_the_reported_half_of_the_test_set_does_not_affect_the_choice(catalog, tmp_path):
    """Inverting the reported images changes no trial."""
    load = catalog.datasets["tiny-set"].load
    _, test = load(Path())
    reported = torch.ones(len(test), dtype=torch.bool)
    reported[tuning_rows(0.5, test.labels)] = False

    def poisoned(root):
        train_set, test_set = load(root)
        images = test_set.images.clone()
        images[reported] = 255 - images[reported]
        return train_set, Data.of(images, test_set.labels)

    poison = replace(
        catalog, datasets={**catalog.datasets, "tiny-set": Dataset("tiny-set", poisoned)}
    )

    clean = tune(METHOD, prepare(catalog, tmp_path / "a"), 6)
    other = tune(METHOD, prepare(poison, tmp_path / "b"), 6)

    assert not torch.equal(poisoned(Path())[1].images, test.images)
    assert other.trials == clean.trials
    assert other.problem != clean.problem


def test_pages_report_only_test_rows_that_tuning_never_sees(catalog):
    scenario = catalog.scenarios["tiny"]
    train_set, test_set = catalog.datasets["tiny-set"].load(Path())

    rows = split(scenario, Replicate(0, 0), train_set.labels, test_set.labels)
    seen = tuning_rows(scenario.tuning, test_set.labels)

    assert sorted([*rows.test.tolist(), *seen.tolist()]) == list(range(len(test_set)))
    counts = torch.bincount(test_set.labels[seen]), torch.bincount(test_set.labels[rows.test])
    assert (counts[0] - counts[1]).abs().max() <= 1
    assert rows.nonmembers.max() < len(rows.test)


@pytest.mark.parametrize(
    ("rule", "other"),
    [
        (RandomFraction(0.25), RandomFraction(0.25)),
        (WholeClass(2), WholeClass(0)),
        (ClassFraction(1, 0.5), ClassFraction(2, 0.5)),
        (GivenRows((1, 2, 3, 4)), RandomFraction(0.05)),
    ],
)
def test_tuning_uses_a_different_forget_set_of_the_same_kind(catalog, tmp_path, rule, other):
    workspace = Workspace(Store(tmp_path), catalog, Path("data"), torch.device("cpu"))
    scenario = replace(catalog.scenarios["tiny"], forget=rule)

    assert tuning_scenario(scenario, workspace.dataset("tiny-set")).forget == other


def test_seeds_used_for_tuning_cannot_be_reported(catalog, tmp_path, unlearn):
    setup = prepare(catalog, tmp_path / "s", replicates=2)

    status, _, err = unlearn("run", "--scenario", "tiny", "--seed", FIRST_SEED)

    assert [r.seed for r in setup.replicates] == [FIRST_SEED, FIRST_SEED + 1]
    assert (status, "whole number from 0 to" in err) == (2, True)


def test_a_scenario_without_test_images_for_tuning_is_an_error(catalog, tmp_path):
    scenarios = {"tiny": replace(catalog.scenarios["tiny"], tuning=0.0)}

    with pytest.raises(UserError, match="reserves no part of the test set for tuning"):
        prepare(replace(catalog, scenarios=scenarios), tmp_path)


def load_study(journal):
    return optuna.load_study(
        study_name=None, storage=JournalStorage(JournalFileBackend(str(journal)))
    )


def test_two_commands_tuning_the_same_method_share_its_trials(catalog, tmp_path):
    setups = [prepare(catalog, tmp_path), prepare(catalog, tmp_path)]
    tuning, waiting = threading.Event(), threading.Event()

    def at_second(number):
        if number == 1:
            tuning.set()
            assert waiting.wait(60)

    heard = []
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(tune, METHOD, setups[0], 3, on_trial=at_second)
        assert tuning.wait(60)
        second = pool.submit(
            tune, METHOD, setups[1], 3, say=lambda text: (heard.append(text), waiting.set())
        )

    (journal,) = (tmp_path / "tuning" / "studies").glob("*.log")
    states = [trial.state.name for trial in load_study(journal).get_trials()]
    assert second.result() == first.result()
    assert states == ["COMPLETE"] * 3
    assert heard == ["mine: another `unlearn tune` is tuning it; waiting for its trials"]


def test_a_journal_with_half_a_last_line_loses_only_that_line(catalog, tmp_path):
    whole = tune(METHOD, prepare(catalog, tmp_path), 3)
    (journal,) = (tmp_path / "tuning" / "studies").glob("*.log")
    with journal.open("a") as file:
        file.write('{"op_code": 4, "worker')
    Path(f"{journal}.lock").symlink_to(journal)  # as kill -9 leaves it

    start = time.monotonic()
    again = tune(METHOD, prepare(catalog, tmp_path), 4)

    assert again.trials[:3] == whole.trials
    assert len(again.trials) == 4
    assert time.monotonic() - start < 25
