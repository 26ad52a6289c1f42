"""``unlearn tune`` writes the settings that ``unlearn run`` uses and pages name."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from harness.commands.tune import _why
from harness.records.tuned import OVER, Trial, Tuning, read, write


def test_an_unwritable_folder_is_an_error_before_the_first_trial(unlearn, work):
    (work / "out").mkdir()
    (work / "out" / "tuned").write_text("a file")

    status, out, err = unlearn("tune", "finetune", "--scenario", "tiny", "--out", "out")

    assert (status, out, err.count("\n")) == (2, "", 1)
    assert str(Path("out") / "tuned") in err
    assert not (work / "runs" / "tuning" / "models").exists()


def test_run_uses_outdated_settings_and_the_page_says_so(unlearn, work):
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


def test_methods_without_tuned_settings_are_named_in_one_line(unlearn):
    words = ("run", "finetune", "retrain-short", "--scenario", "tiny", "tiny-long", "--dry-run")

    _, _, err = unlearn(*words)
    _, _, quiet = unlearn(*words, "--defaults")
    _, _, every = unlearn("run", "--scenario", "tiny", "--dry-run")

    assert err.count("\n") == 1
    assert (
        "there is no folder leaderboards/tuned, so these run at their defaults: finetune for tiny; "
        "finetune for tiny-long."
    ) in err
    assert quiet == ""
    assert "so these run at their defaults: all" in every
    assert "methods with a search space for tiny" in every


def test_tune_writes_settings_that_run_uses_and_the_page_names(unlearn, work):
    words = ("finetune", "retrain-short", "--scenario", "tiny-long")
    few = ("--trials", "3", "--replicates", "1")
    status, out, err = unlearn("tune", *words, *few, "--workers", "1")
    unlearn("run", *words)
    unlearn("leaderboard")

    page = (work / "leaderboards" / "tiny-long.md").read_text()
    chosen = read(work / "leaderboards" / "tuned", "tiny-long")["finetune"]
    assert status == 0, err
    assert "skipped: retrain-short: has no search space and runs at its defaults" in out
    kept, last = chosen.best.gap, chosen.gap_after(3)
    assert f"average gap {kept:.2f} on fresh originals, defaults over the budget" in out
    assert f"(tuned, 3 trials: none after 1, {last:.2f} after 3)" in out
    block = page[page.index("## Tuning") :]
    assert f"| finetune | – | – | – | over the budget | {kept:.2f} |" in block
    assert len(chosen.trials) == 3
    assert page.count("| tuned, 3 trials ") == 1
    assert page.count("trials, of") == 0
    assert "| defaults " in page
    assert f"`lr={chosen.best.settings['lr']}`" in page


def test_the_reason_why_no_trial_succeeded_gives_the_budget_and_how_many_trials_exceeded_it():
    over = Trial({"epochs": 5}, None, 9.0, OVER)
    died = Trial({"epochs": 1}, None, 0.0, "the process died")

    assert _why(Tuning("s", 1, (over,) * 3)) == (
        "no trial succeeded: 3 of 3 trials took more than 20 % of retraining's passes, the budget "
        "of a run; search fewer epochs"
    )
    assert _why(Tuning("s", 1, (over, died))) == "no trial succeeded: the process died"
    lone = Tuning("s", 1, (Trial({"epochs": 1}, 2.0, 9.0),), confirmed=(died,))
    assert _why(lone) == (
        "none of the best settings succeeded on fresh originals: the process died"
    )


def test_ctrl_c_stops_a_tuning_at_once_and_the_same_command_continues_it(work):
    command = [sys.executable, "-m", "harness.cli", "tune", "finetune", "--scenario", "tiny-long"]
    command += ["-p", "tiny_plugin.py", "--device", "cpu", "--workers", "1"]
    command += ["--replicates", "1", "--trials"]
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
    assert "(tuned, 2 trials: " in again.stdout


def test_defaults_can_be_requested_despite_tuned_settings(unlearn, work):
    trial = Trial({"lr": 0.5}, 1.0, 100.0)
    write(work / "leaderboards" / "tuned", "tiny", {"finetune": Tuning("x", 1, (trial,))})

    tuned = unlearn("run", "finetune", "--scenario", "tiny", "--replicates", "1")
    defaults = unlearn("run", "finetune", "--scenario", "tiny", "--replicates", "1", "--defaults")

    assert "did 5 models" in tuned[1]
    assert "did 1 models" in defaults[1]


def test_tuned_settings_that_no_longer_fit_the_method_are_an_error(unlearn, work):
    trial = Trial({"speed": 0.5}, 1.0, 100.0)
    write(work / "leaderboards" / "tuned", "tiny", {"finetune": Tuning("x", 1, (trial,))})

    status, _, err = unlearn("run", "finetune", "--scenario", "tiny")

    assert status == 2
    assert "the settings tuned for 'finetune' no longer fit it" in err


TUNED_ELSEWHERE = """
from dataclasses import replace
from harness import hookimpl
from tiny_plugin import TINY

@hookimpl
def unlearning_scenarios():
    return [
        replace(TINY, name="like-tiny", tuned_as="tiny"),
        replace(TINY, name="lost", tuned_as="tinny"),
        replace(TINY, name="twice", tuned_as="like-tiny"),
    ]
"""


def test_a_scenario_uses_the_settings_tuned_on_the_one_that_it_names(unlearn, work, monkeypatch):
    monkeypatch.syspath_prepend(work)
    (work / "elsewhere.py").write_text(TUNED_ELSEWHERE)
    trial = Trial({"lr": 0.5}, 1.0, 100.0)
    write(work / "leaderboards" / "tuned", "tiny", {"finetune": Tuning("then", 1, (trial,))})
    words = ("finetune", "-p", "elsewhere.py", "--scenario")

    _, _, err = unlearn("run", *words, "like-tiny", "--replicates", "1")
    unlearn("leaderboard")
    refused = unlearn("tune", *words, "like-tiny")
    lost = unlearn("run", *words, "lost")
    twice = unlearn("run", *words, "twice")

    page = (work / "leaderboards" / "like-tiny.md").read_text()
    assert "| tuned on tiny, 1 trial, of an earlier source and an unknown definition " in page
    assert "`lr=0.5`" in page
    assert "[tuned/tiny.json](tuned/tiny.json)" in page
    assert "| finetune | 1.00 " in page[page.index("## Tuning") :]
    assert "an earlier source and an unknown definition (tiny)" in err
    assert (refused[0], refused[2].count("\n")) == (2, 1)
    assert "'like-tiny' uses the settings tuned for 'tiny'; give --scenario tiny" in refused[2]
    assert (lost[0], lost[2].count("\n")) == (2, 1)
    assert "scenario 'lost': tuned_as: unknown scenario 'tinny'; did you mean 'tiny'" in lost[2]
    assert (twice[0], twice[2].count("\n")) == (2, 1)
    assert "got 'like-tiny', which uses those of 'tiny'" in twice[2]


def test_a_page_lists_only_settings_that_have_a_part(unlearn, work):
    unlearn("run", "random-labels", "--scenario", "tiny", "--replicates", "1", "--defaults")
    unlearn("leaderboard")

    page = (work / "leaderboards" / "tiny.md").read_text()

    assert "| `epochs=4`, `lr=0.02` |" in page
    assert "without_retain" not in page
