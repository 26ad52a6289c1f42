"""Tuning: equal trials within a budget, on models and images that no page reports."""

import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from harness import Choice, Data, Dataset, Method, Span, UserError, fine_tune
from harness.datasets.splits import split, tuning_rows
from harness.leaderboard.rows import BUDGET
from harness.plugins.catalog import load_catalog
from harness.records.store import Store
from harness.records.tuned import Trial, Tuning, problem_of, read, tuning_of, write
from harness.runs.pool import Means
from harness.runs.tuning import FIRST_SEED, Ground, tune, tuning_scenario
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
    return Ground.prepare(
        catalog.scenarios["tiny"],
        catalog,
        store=Path(store),
        data=Path("data"),
        device=torch.device("cpu"),
        replicates=replicates,
        means=Means(),
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
    assert over.passes == pytest.approx(ground.most_passes)
    assert within.gap is not None
    retrained = next(s for s in ground.rows(ground.plan([])) if s.method == "retrain")
    assert ground.most_passes == pytest.approx(BUDGET * retrained.spending.passes.mean, rel=0.01)


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
    assert other.trials == clean.trials
    assert other.problem != clean.problem


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
    workspace = Workspace(Store(tmp_path), catalog, Path("data"), torch.device("cpu"))
    scenario = replace(catalog.scenarios["tiny"], forget=rule)

    assert tuning_scenario(scenario, workspace.dataset("tiny-set")).forget == other


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
    assert tuning_of(asdict(tunings["b"])) == tunings["b"]
    assert read(tmp_path, "other") == {}
    assert json.loads((tmp_path / "s.json").read_text())["b"]["settings"] == {"lr": 0.1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "AttributeError"),
        ("{", "JSONDecodeError"),
        ('{"a": {}, "a": {}}', "'a' is there twice"),
        ('{"a": {"gap": NaN}}', "NaN is no number"),
    ],
)
def test_a_file_that_holds_something_else_is_told_in_one_line(tmp_path, text, reason):
    (tmp_path / "s.json").write_text(text)

    with pytest.raises(UserError, match="not a file of tuned settings") as error:
        read(tmp_path, "s")

    assert reason in str(error.value)


TRIAL = {"settings": {"lr": 0.5}, "gap": 1.0, "passes": 9.0, "note": ""}
ENTRY = {"settings": {"lr": 0.5}, "gap": 1.0, "source": "x", "replicates": 1, "trials": [TRIAL]}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({**ENTRY, "sampler": "new"}, "unknown field 'sampler', as of a newer version"),
        ({**ENTRY, "trials": [{**TRIAL, "seconds": 1.0}]}, "unknown field 'seconds'"),
        ({**ENTRY, "settings": {"lr": 0.7}}, "not those of its best trial"),
        ({**ENTRY, "trials": []}, "expected one trial or more"),
        ({**ENTRY, "replicates": "1"}, "Expected `int`, got `str` - at `$.replicates`"),
        (
            {**ENTRY, "trials": [{**TRIAL, "gap": -1.0}]},
            "gap must be a finite number of",
        ),
        (
            {name: ENTRY[name] for name in ENTRY if name != "source"},
            "missing required field `source`",
        ),
        ([], "expected an object; got []"),
    ],
)
def test_an_entry_that_cannot_be_read_is_kept_and_named(unlearn, work, entry, reason):
    folder = work / "leaderboards" / "tuned"
    folder.mkdir(parents=True)
    (folder / "tiny.json").write_text(json.dumps({"finetune": entry}))

    write(folder, "tiny", {"salun": Tuning("y", 1, (Trial({"lr": 0.1}, 2.5, 30.0),))})
    status, _, err = unlearn("run", "finetune", "--scenario", "tiny", "--dry-run")

    assert json.loads((folder / "tiny.json").read_text())["finetune"] == entry
    assert read(folder, "tiny")["salun"].best.gap == 2.5
    assert (status, err.count("\n")) == (2, 1)
    assert f"the settings tuned for 'finetune' cannot be read ({reason}" in err or reason in err
    assert "run `unlearn tune finetune` again, or `unlearn run --defaults`" in err


def test_commands_that_write_at_once_lose_nobodys_settings(tmp_path):
    names = [f"method-{i}" for i in range(24)]

    def put(name):
        write(tmp_path, "s", {name: Tuning(name, 1, (Trial({"lr": 0.5}, 1.0, 9.0),))})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, names))

    assert {name: tuning.source for name, tuning in read(tmp_path, "s").items()} == {
        name: name for name in names
    }


def test_a_folder_that_cannot_be_written_to_is_told_before_the_first_trial(unlearn, work):
    (work / "out").mkdir()
    (work / "out" / "tuned").write_text("a file")

    status, out, err = unlearn("tune", "finetune", "--scenario", "tiny", "--out", "out")

    assert (status, out, err.count("\n")) == (2, "", 1)
    assert str(Path("out") / "tuned") in err
    assert not (work / "runs" / "tuning" / "models").exists()


def load_study(journal):
    return optuna.load_study(
        study_name=None, storage=JournalStorage(JournalFileBackend(str(journal)))
    )


def test_two_commands_that_tune_one_method_at_once_share_its_trials(catalog, tmp_path):
    grounds = [prepare(catalog, tmp_path), prepare(catalog, tmp_path)]
    at_it, said = threading.Event(), threading.Event()

    def at_second(number):
        if number == 1:
            at_it.set()
            assert said.wait(60)

    heard = []
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(tune, METHOD, grounds[0], 3, told=at_second)
        assert at_it.wait(60)
        second = pool.submit(
            tune, METHOD, grounds[1], 3, say=lambda text: (heard.append(text), said.set())
        )

    (journal,) = (tmp_path / "tuning" / "studies").glob("*.log")
    states = [trial.state.name for trial in load_study(journal).get_trials()]
    assert second.result() == first.result()
    assert states == ["COMPLETE"] * 3
    assert heard == ["mine: another `unlearn tune` is tuning it; waiting for its trials"]


def test_a_journal_that_breaks_off_in_a_line_costs_that_line_alone(catalog, tmp_path):
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


@pytest.mark.parametrize(
    ("source", "problem", "chosen"),
    [
        ("now", "now", "tuned, 2 trials"),
        ("then", "now", "tuned, 2 trials, of an earlier source"),
        ("now", "then", "tuned, 2 trials, of an earlier definition"),
        ("then", "then", "tuned, 2 trials, of an earlier source and definition"),
        ("now", "", "tuned, 2 trials, of an unknown definition"),
        ("then", "", "tuned, 2 trials, of an earlier source and an unknown definition"),
    ],
)
def test_a_tuning_says_what_it_was_of(source, problem, chosen):
    tuning = Tuning(source, 1, (Trial({}, 1.0, 1.0), Trial({}, 2.0, 1.0)), problem)

    assert tuning.chosen("now", "now") == chosen


def test_the_problem_that_was_tuned_for_is_the_scenarios_definition(catalog):
    tiny = catalog.scenarios["tiny"]
    now = problem_of(tiny, "data", "net")

    others = [
        problem_of(replace(tiny, recipe=replace(tiny.recipe, lr=0.2)), "data", "net"),
        problem_of(replace(tiny, forget=WholeClass(1)), "data", "net"),
        problem_of(replace(tiny, retain_access=0.1), "data", "net"),
        problem_of(replace(tiny, mia="entropy_mia.auc"), "data", "net"),
        problem_of(replace(tiny, held_out=0.1), "data", "net"),
        problem_of(replace(tiny, tuning=0.25), "data", "net"),
        problem_of(tiny, "other data", "net"),
        problem_of(tiny, "data", "other net"),
    ]
    assert len({now, *others}) == 1 + len(others)
    assert problem_of(replace(tiny, name="other", replicates=9), "data", "net") == now


def test_run_reads_where_tune_wrote_and_the_page_says_of_what(unlearn, work):
    trial = Trial({"lr": 0.5}, 1.0, 100.0)
    write(work / "x" / "tuned", "tiny", {"finetune": Tuning("then", 1, (trial,))})

    words = ("run", "finetune", "random-labels", "--scenario", "tiny", "--replicates", "1")
    _, _, err = unlearn(*words, "--out", "x")
    unlearn("leaderboard", "--out", "x")

    page = (work / "x" / "tiny.md").read_text()
    assert "`lr=0.5`" in page
    assert "| tuned, 1 trial, of an earlier source and an unknown definition " in page
    assert "Settings tuned for *an earlier source* or *definition* were chosen before" in page
    assert err.count("\n") == 2
    assert (
        "finetune runs with settings tuned for an earlier source and an unknown definition (tiny); "
        "`unlearn tune finetune` renews them"
    ) in err
    folder = Path("x") / "tuned"
    assert f"no tuned settings in {folder}, so these run at their defaults: random-labels" in err


def test_methods_that_run_untuned_are_named_once(unlearn):
    words = ("run", "finetune", "retrain-short", "--scenario", "tiny", "tiny-long", "--dry-run")

    _, _, err = unlearn(*words)
    _, _, quiet = unlearn(*words, "--defaults")
    _, _, every = unlearn("run", "--scenario", "tiny", "--dry-run")

    assert err.count("\n") == 1
    assert (
        "there is no folder leaderboards/tuned, so these run at their defaults: finetune in tiny; "
        "finetune in tiny-long."
    ) in err
    assert quiet == ""
    assert "so these run at their defaults: all" in every
    assert "methods with a search space in tiny" in every


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
    assert page.count("| tuned, 3 trials ") == 1
    assert page.count("trials, of") == 0
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
    assert err.endswith("unlearn: stopped; run the same command again to continue\n")
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
    assert "the settings tuned for 'finetune' no longer fit it" in err
