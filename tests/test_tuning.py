"""Tuning: equal trials within a budget, on models and images that no page reports."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from harness import Choice, Data, Dataset, Method, Span, UserError, train
from harness.bench import Bench
from harness.forgetting import ClassFraction, GivenRows, RandomFraction, WholeClass
from harness.plugins import load_catalog
from harness.specs import Replicate
from harness.splits import split, tuning_rows
from harness.store import Store
from harness.table import BUDGET
from harness.tuned import Trial, Tuning, read, write
from harness.tuning import FIRST_SEED, Ground, tune, tuning_scenario

TESTS = Path(__file__).parent


@dataclass(frozen=True)
class Config:
    epochs: int = 1
    lr: float = 0.1
    kind: str = "a"


def unlearn(task, config):
    return train(
        task.model, task.retain, epochs=config.epochs, lr=config.lr, generator=task.generator
    )


SEARCH = {"epochs": Span(0, 3), "lr": Span(1e-3, 1.0, log=True), "kind": Choice(("a", "b"))}
METHOD = Method("mine", unlearn, Config(), search=SEARCH)


@pytest.fixture(scope="module")
def catalog():
    tiny = load_catalog([str(TESTS / "tiny.py")])
    return replace(tiny, methods={**tiny.methods, "mine": METHOD})


def prepare(catalog, store, replicates=1):
    return Ground.prepare(
        catalog.scenarios["tiny"],
        catalog,
        store=Path(store),
        data=Path("data"),
        device=torch.device("cpu"),
        replicates=replicates,
    )


def test_a_method_is_tuned_by_as_many_trials_as_asked_for(catalog, tmp_path):
    tuning = tune(METHOD, prepare(catalog, tmp_path), 4)

    assert len(tuning.trials) == 4
    assert len({json.dumps(trial.settings) for trial in tuning.trials}) == 4
    assert all(0 <= trial.settings["epochs"] <= 3 for trial in tuning.trials)
    assert tuning.best.gap == min(t.gap for t in tuning.trials if t.gap is not None)


def test_a_trial_over_the_budget_has_no_gap_and_costs_no_more_than_the_budget(catalog, tmp_path):
    ground = prepare(catalog, tmp_path)

    over = ground.judge(METHOD, Config(epochs=2), {"epochs": 2})
    within = ground.judge(METHOD, Config(epochs=0), {"epochs": 0})

    assert (over.gap, over.note) == (None, "over the budget")  # 2 of 2 epochs are all of them
    assert over.passes == pytest.approx(ground.bench.most_passes)
    assert within.gap is not None
    retrained = next(s for s in ground.standings(ground.plan([])) if s.method == "retrain")
    assert ground.bench.most_passes == pytest.approx(BUDGET * retrained.passes.mean, rel=0.01)


def test_an_interrupted_tuning_ends_as_an_uninterrupted_one(catalog, tmp_path):
    whole = tune(METHOD, prepare(catalog, tmp_path / "a"), 10)

    def interrupt(number):
        if number == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(METHOD, prepare(catalog, tmp_path / "b"), 10, interrupt)
    told = []
    continued = tune(METHOD, prepare(catalog, tmp_path / "b"), 10, told.append)

    assert told == [5, 6, 7, 8, 9]
    assert [t.settings for t in continued.trials] == [t.settings for t in whole.trials]
    assert [t.gap for t in continued.trials] == [t.gap for t in whole.trials]


def test_the_reported_half_of_the_test_set_has_no_part_in_the_choice(catalog, tmp_path):
    """The reported half is poisoned: other images, other labels."""
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
    assert other == clean


def test_pages_report_on_the_rows_that_tuning_did_not_see(catalog):
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
def test_another_forget_set_of_the_same_kind_is_tuned_on(catalog, tmp_path, rule, other):
    bench = Bench(Store(tmp_path), catalog, Path("data"), torch.device("cpu"))
    scenario = replace(catalog.scenarios["tiny"], forget=rule)

    assert tuning_scenario(scenario, bench.material("tiny-set")).forget == other


def test_no_page_can_report_a_seed_that_was_tuned_on(catalog, tmp_path, unlearn):
    ground = prepare(catalog, tmp_path / "s", replicates=2)

    status, _, err = unlearn("run", "--scenario", "tiny", "--seed", FIRST_SEED)

    assert [r.seed for r in ground.replicates] == [FIRST_SEED, FIRST_SEED + 1]
    assert (status, "whole number from 0 to" in err) == (2, True)


def test_a_scenario_without_a_part_for_tuning_is_told(catalog, tmp_path):
    scenarios = {"tiny": replace(catalog.scenarios["tiny"], tuning=0.0)}

    with pytest.raises(UserError, match="reserves no part of the test set for tuning"):
        prepare(replace(catalog, scenarios=scenarios), tmp_path)


def test_a_file_of_tuned_settings_comes_back_as_it_was(tmp_path):
    trials = (Trial({"lr": 0.1}, 2.5, 30.0), Trial({"lr": 0.2}, None, 9.0, "over the budget"))
    tunings = {"b": Tuning("abc", 1, trials), "a": Tuning("def", 2, trials[1:])}

    write(tmp_path, "s", tunings)

    assert read(tmp_path, "s") == tunings
    assert read(tmp_path, "other") == {}
    assert json.loads((tmp_path / "s.json").read_text())["b"]["settings"] == {"lr": 0.1}


def test_a_file_that_holds_something_else_is_told_in_one_line(tmp_path):
    (tmp_path / "s.json").write_text('{"finetune": []}')

    with pytest.raises(UserError, match="not a file of tuned settings"):
        read(tmp_path, "s")


def test_the_verb_writes_the_file_that_run_uses_and_the_page_names(unlearn, work):
    words = ("finetune", "retrain-short", "--scenario", "tiny-long")
    status, out, err = unlearn("tune", *words, "--trials", "3", "--workers", "1")
    unlearn("run", *words)
    unlearn("leaderboard")

    page = (work / "leaderboards" / "tiny-long.md").read_text()
    chosen = read(work / "leaderboards" / "tuned", "tiny-long")["finetune"]
    assert status == 0, err
    assert "skipped: retrain-short: has no search space and runs at its defaults" in out
    assert "(tuned, 3 trials)" in out
    assert len(chosen.trials) == 3
    assert page.count("tuned, 3 trials") == 1
    assert "| defaults " in page
    assert f"`lr={chosen.best.settings['lr']}`" in page


def test_ctrl_c_stops_a_tuning_at_once_and_the_same_command_goes_on(work):
    command = [sys.executable, "-m", "harness.cli", "tune", "finetune", "--scenario", "tiny-long"]
    command += ["-p", "tiny_plugin.py", "--device", "cpu", "--workers", "1", "--trials"]
    started = subprocess.Popen([*command, "1000"], stderr=subprocess.PIPE, text=True)
    studies = work / "runs" / "tuning" / "studies"
    while not any(
        b'"params"' in p.read_bytes() or b"trial" in p.read_bytes() for p in studies.glob("*.log")
    ):
        assert started.poll() is None
        time.sleep(0.05)

    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=60)
    again = subprocess.run([*command, "2"], capture_output=True, text=True, check=False)

    assert started.returncode == 130
    assert err.endswith("unlearn: stopped; the same command goes on where this one was\n")
    assert again.returncode == 0, again.stderr
    assert "(tuned, 2 trials)" in again.stdout


def test_defaults_can_be_had_where_tuned_settings_are_there(unlearn, work):
    trial = Trial({"lr": 0.5}, 1.0, 100.0)
    write(work / "leaderboards" / "tuned", "tiny", {"finetune": Tuning("x", 1, (trial,))})

    tuned = unlearn("run", "finetune", "--scenario", "tiny", "--replicates", "1")
    defaults = unlearn("run", "finetune", "--scenario", "tiny", "--replicates", "1", "--defaults")

    assert "did 5 models" in tuned[1]
    assert "did 1 models" in defaults[1]


def test_settings_that_do_not_fit_a_method_any_more_are_told(unlearn, work):
    trial = Trial({"speed": 0.5}, 1.0, 100.0)
    write(work / "leaderboards" / "tuned", "tiny", {"finetune": Tuning("x", 1, (trial,))})

    status, _, err = unlearn("run", "finetune", "--scenario", "tiny")

    assert status == 2
    assert "the settings tuned for 'finetune' do not fit it any more" in err
