"""The whole line on a problem of a second: run, skip, resume, repair, measure, render."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main
from harness.plugins.catalog import load_catalog
from harness.records.lines import Run
from harness.records.store import Store, digest
from harness.records.stored import stored_lines
from harness.runs.recording import record_failure
from harness.runs.steps import _probe, do_step
from harness.runs.wanted import Wanted, prepare

METHOD = """
from dataclasses import dataclass
from torch import nn
from harness import Method, Task, fine_tune, hookimpl

@dataclass(frozen=True)
class Config:
    epochs: int = 1
    lr: float = 0.01

def unlearn(task: Task, config: Config) -> nn.Module:
    {body}

@hookimpl
def unlearning_methods():
    return [Method("mine", unlearn, Config())]
"""
SOUND = METHOD.format(
    body="return fine_tune(task, task.retain, epochs=config.epochs, lr=config.lr)"
)


def without_seconds(folder):
    """Every record below a folder, less clocks and circumstances."""
    lines = []
    for path in sorted(Path(folder, "records").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            fields = json.loads(line)
            fields.pop("circumstances", None)
            fields.get("cost", {}).pop("seconds", None)
            lines.append(fields)
    return lines


def pages(folder):
    return {path.name: path.read_text() for path in Path(folder).glob("*.md")}


@pytest.fixture
def finished(unlearn):
    """A finished run of the tiny suite."""
    status, out, err = unlearn("run", "--suite", "tiny-suite", "--defaults")
    assert (status, err) == (0, ""), err
    return out


def test_a_suite_runs_and_becomes_pages(unlearn, finished, work):
    status, _, _ = unlearn("leaderboard")

    page = (work / "leaderboards" / "tiny.md").read_text()
    assert status == 0
    assert "did 12 models, 12 logits, 12 runs, 48 measurements; 0 of 84" in finished
    for name in ("original", "retrain", "finetune", "random-labels"):
        assert f"| {name}" in page
    assert (work / "leaderboards" / "finetune.md").exists()
    assert (work / "leaderboards" / "README.md").exists()
    assert "NaN" not in page


def test_the_same_command_again_does_nothing_and_says_so(unlearn, finished):
    status, out, _ = unlearn("run", "--suite", "tiny-suite")

    assert status == 0
    assert "did 0 models, 0 logits, 0 runs, 0 measurements; 84 of 84" in out


def test_the_same_seed_gives_the_same_records_in_another_store(unlearn, finished, work):
    unlearn("leaderboard")
    unlearn("run", "--suite", "tiny-suite", "--store", "second")
    unlearn("leaderboard", "--store", "second", "--out", "boards")

    assert without_seconds("boards") == without_seconds("leaderboards")


def test_more_replicates_add_to_those_that_are_there(unlearn, finished):
    _, out, _ = unlearn("run", "--suite", "tiny-suite", "--replicates", "3")

    assert "did 6 models" in out


def test_several_scenarios_share_originals_and_retrained_models(unlearn, finished):
    _, out, _ = unlearn("run", "finetune", "--scenario", "tiny", "--set", "finetune.lr=0.01")

    assert "did 2 models, 2 logits, 2 runs, 8 measurements" in out


def test_a_dry_run_says_what_it_would_do_and_does_nothing(unlearn, work):
    status, out, _ = unlearn("run", "--suite", "tiny-suite", "--dry-run")

    assert status == 0
    assert "would do 12 models" in out
    assert not (work / "runs").exists()


def test_a_method_runs_again_when_asked_to(unlearn, finished):
    _, out, _ = unlearn("run", "--suite", "tiny-suite", "--again", "finetune")

    assert "did 2 models, 2 logits, 2 runs, 8 measurements" in out


def test_a_plugin_gets_its_row_and_an_edited_one_is_run_again(unlearn, finished, work):
    (work / "mine.py").write_text(SOUND)
    words = ("run", "mine", "--scenario", "tiny", "-p", "mine.py")
    first = unlearn(*words)
    again = unlearn(*words)
    (work / "mine.py").write_text(SOUND.replace("lr=config.lr", "lr=config.lr / 2"))
    edited = unlearn(*words)
    unlearn("leaderboard")

    assert "did 2 models" in first[1], first
    assert "did 0 models" in again[1]
    assert "did 2 models" in edited[1]
    page = (work / "leaderboards" / "tiny.md").read_text()
    assert page.count("| mine ") == 3  # one row in each of the three tables
    assert "Left out: 2 runs" in page


def test_a_plugin_put_back_to_what_it_was_shows_its_old_runs_without_training(
    unlearn, finished, work
):
    words = ("run", "mine", "--scenario", "tiny", "-p", "mine.py")
    (work / "mine.py").write_text(SOUND)
    unlearn(*words)
    unlearn("leaderboard")
    before = (work / "leaderboards" / "tiny.md").read_text()
    (work / "mine.py").write_text(SOUND.replace("lr=config.lr", "lr=config.lr / 2"))
    unlearn(*words)
    (work / "mine.py").write_text(SOUND)

    back = unlearn(*words)
    unlearn("leaderboard")

    table = (work / "leaderboards" / "tiny.md").read_text().partition("## Provenance")[0]
    assert "did 0 models, 0 logits, 2 runs, 0 measurements" in back[1]
    assert table == before.partition("## Provenance")[0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        (
            "return None",
            "MethodError: it returned None; expected the unlearned model, an nn.Module",
        ),
    ],
)
def test_a_method_that_fails_is_told_and_the_other_rows_go_on(unlearn, work, body, message):
    (work / "mine.py").write_text(METHOD.format(body=body))

    status, _, err = unlearn("run", "mine", "finetune", "--scenario", "tiny", "-p", "mine.py")

    assert status == 1
    assert message in err
    unlearn("leaderboard")
    page = (work / "leaderboards" / "tiny.md").read_text()
    failures = [json.loads(path.read_text()) for path in work.glob("runs/failures/*/facts.json")]
    assert "| finetune" in page
    assert "| mine" in page
    assert [each["line"]["reason"] for each in failures] == [message] * 2


@pytest.mark.parametrize(
    "body",
    [
        "return nn.Linear(2, 2)",
        "task.model.register_forward_hook(lambda *_: None); return task.model",
        "task.model.forward = lambda images: images; return task.model",
        "task.model.extra = nn.Linear(2, 2); return task.model",
    ],
)
def test_a_method_that_returns_another_architecture_has_an_unranked_row_that_says_so(
    unlearn, work, body
):
    (work / "mine.py").write_text(METHOD.format(body=body))

    status, _, err = unlearn("run", "mine", "finetune", "--scenario", "tiny", "-p", "mine.py")
    unlearn("leaderboard")

    page = (work / "leaderboards" / "tiny.md").read_text()
    row = next(line for line in page.splitlines() if "| mine " in line)
    assert status == 0, err
    assert row.startswith("| – ")
    assert "changed architecture: 2 of 2" in row


def test_a_method_with_statistics_stored_at_training_is_marked(unlearn, work):
    unlearn("run", "ssd", "ssd-stored", "--scenario", "tiny")
    unlearn("leaderboard")

    page = (work / "leaderboards" / "tiny.md").read_text()
    assert page.count("| ssd-stored † ") == 1
    assert "| ssd † " not in page
    assert "† uses statistics of the whole train set" in page


def test_a_method_that_is_not_defined_has_a_row_that_says_why(unlearn, work):
    unlearn("run", "finetune", "unsir", "regun", "--scenario", "tiny")
    unlearn("leaderboard")

    page = (work / "leaderboards" / "tiny.md").read_text()
    own = (work / "leaderboards" / "unsir.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in page.splitlines()]
    assert ["–", "unsir", "is not defined for random forgetting"] in rows
    assert ["–", "regun", "needs held-out data"] in rows
    assert "is not defined for random forgetting" in own
    assert unlearn("leaderboard", "--check")[0] == 0


def test_a_diverged_run_is_recorded_and_shown(unlearn, work):
    body = "next(task.model.parameters()).data.fill_(float('nan')); return task.model"
    (work / "mine.py").write_text(METHOD.format(body=body))

    status, _, err = unlearn("run", "mine", "--scenario", "tiny", "-p", "mine.py")
    unlearn("leaderboard")

    assert (status, err) == (0, "")
    assert "diverged: 2" in (work / "leaderboards" / "tiny.md").read_text()


@pytest.mark.parametrize("kind", ["models", "logits", "runs", "measurements"])
@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_a_broken_file_is_found_reported_and_made_anew(unlearn, finished, work, kind, damage):
    unlearn("leaderboard")
    before = without_seconds("leaderboards")
    name = "facts.json" if kind in ("runs", "measurements") else "tensors.safetensors"
    path = sorted(work.glob(f"runs/{kind}/*/{name}"))[0]
    path.unlink() if damage == "remove" else path.write_bytes(path.read_bytes()[:-3])

    status, out, err = unlearn("run", "--suite", "tiny-suite")
    unlearn("leaderboard", "--out", "boards")

    assert status == 0
    assert "corrupt; rebuilding" in err
    assert f"did {int(kind == 'models')} models" in out
    assert without_seconds("boards") == before


def test_a_broken_file_is_left_out_of_the_leaderboard_and_reported(unlearn, finished, work):
    path = sorted(work.glob("runs/runs/*/facts.json"))[0]
    path.write_text("{")

    status, _, err = unlearn("leaderboard")

    assert status == 0
    assert str(path.relative_to(work)) in err


def test_the_check_passes_on_what_was_rendered_and_fails_on_an_edit(unlearn, finished, work):
    unlearn("leaderboard")
    clean = unlearn("leaderboard", "--check")[0]
    page = work / "leaderboards" / "tiny.md"
    page.write_text(page.read_text().replace("100", "99"))

    status, out, _ = unlearn("leaderboard", "--check")

    assert clean == 0
    assert status == 1
    assert "tiny.md differs" in out
    assert "99" in page.read_text()


def test_records_outlive_the_store_and_nothing_is_doubled(unlearn, finished, work):
    unlearn("leaderboard")
    before = pages("leaderboards")
    shutil.rmtree(work / "runs")
    alone = unlearn("leaderboard", "--check")[0]

    unlearn("run", "--suite", "tiny-suite")
    unlearn("leaderboard")

    records = (work / "leaderboards" / "records" / "tiny.jsonl").read_text().splitlines()
    assert alone == 0
    assert len(records) == 60
    assert pages("leaderboards").keys() == before.keys()


def test_a_page_that_no_record_calls_for_any_more_is_removed(unlearn, finished, work):
    unlearn("leaderboard")
    stale, own = work / "leaderboards" / "old.md", work / "leaderboards" / "notes.md"
    stale.write_text((work / "leaderboards" / "tiny.md").read_text())
    own.write_text("my own notes")

    assert unlearn("leaderboard", "--check")[0] == 1
    unlearn("leaderboard")
    assert not stale.exists()
    assert own.exists()


PROTOCOL = """
from harness import Estimate, Metric, Protocol, hookimpl

def measure(evidence):
    return {{"mean": Estimate({value})}}

@hookimpl
def unlearning_protocols():
    return [Protocol("mine", {version}, (Metric("mean"),), measure)]
"""


def test_a_new_protocol_is_measured_on_old_runs_without_training(unlearn, finished, work):
    (work / "mine.py").write_text(
        PROTOCOL.format(value="float(evidence.target.forget.mean())", version=1)
    )
    models = sorted(work.glob("runs/models/*"))

    status, out, err = unlearn("measure", "-p", "mine.py")

    assert (status, err) == (0, "")
    assert "measured 12 of 60" in out
    assert sorted(work.glob("runs/models/*")) == models


def test_a_protocols_newer_version_takes_the_place_of_the_older(unlearn, finished, work):
    for version in (2, 1):
        (work / "mine.py").write_text(PROTOCOL.format(value=f"{version}.0", version=version))
        unlearn("measure", "-p", "mine.py")
    unlearn("leaderboard")

    page = (work / "leaderboards" / "tiny.md").read_text()
    assert "2.0 ± 0.0 (+0.0)" in page
    assert " 1.0 ± 0.0 (+0.0)" not in page


@pytest.mark.parametrize("value", ["float('nan')", "'high'"])
def test_a_protocol_that_returns_no_number_is_told(unlearn, finished, work, value):
    (work / "mine.py").write_text(PROTOCOL.format(value=value, version=1))

    status, _, err = unlearn("measure", "-p", "mine.py")

    assert status == 1
    assert "mine failed" in err
    assert "Estimate: value must be a finite number, or None; got" in err


def test_one_run_can_be_shown(unlearn, finished, work):
    run_id = Store(work / "runs").keys("runs")[0]

    status, out, _ = unlearn("show", run_id[:12])

    assert status == 0
    assert run_id in out
    assert "loss-mia.auc" in out


CHILD = """
import os, pathlib, signal, sys
sys.path.insert(0, os.getcwd())
from harness.cli import main
import harness.records.store as store

words, moments = sys.argv[1].split(), [int(m) for m in sys.argv[2].split(",")]

def run(moment):
    calls = 0
    def dying(function):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return call
    store.save_file = dying(store.save_file)
    store.os.fsync = dying(store.os.fsync)
    store.Path.rename = dying(store.Path.rename)
    store.Path.write_text = dying(store.Path.write_text)
    os._exit(main(words))

for moment in moments:
    child = os.fork()
    if child == 0:
        run(moment)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_at_ten_moments_loses_nothing_and_doubles_nothing(unlearn, finished, work):
    unlearn("leaderboard")
    words = "run --suite tiny-suite --store killed --workers 0 --device cpu -p tiny_plugin.py"
    moments = [1, 2, 3, 4, 5, 7, 11, 23, 57, 103]

    done = subprocess.run(
        [sys.executable, "-c", CHILD, words, ",".join(map(str, moments))],
        capture_output=True,
        text=True,
        check=True,
    )
    status = unlearn(*words.split()[:5])[0]
    unlearn("leaderboard", "--store", "killed", "--out", "boards")

    ends = [line for line in done.stdout.splitlines() if line.isdigit()]
    assert ends == [str(int(signal.SIGKILL))] * len(moments), done.stderr
    assert status == 0
    assert without_seconds("boards") == without_seconds("leaderboards")


def test_two_processes_share_one_store_and_ctrl_c_loses_nothing(work, capfd):
    words = [sys.executable, "-m", "harness.cli", "run", "--suite", "tiny-suite", "--device", "cpu"]
    words += ["-p", "tiny_plugin.py", "--replicates", "4"]
    first = subprocess.Popen([*words, "--workers", "2"])
    second = subprocess.Popen([*words, "--workers", "1"])
    while not (work / "runs" / "models").exists() and first.poll() is None:
        pass
    first.send_signal(signal.SIGINT)

    assert first.wait() == 130
    assert second.wait() == 0
    assert "run the same command again to continue" in capfd.readouterr().err
    assert main([*words[3:], "--workers", "2"]) == 0
    assert "did 0 models" in capfd.readouterr().out
    store = Store(work / "runs")
    assert len(store.keys("models")) == 24
    assert not any(
        store.fault(kind, key) for kind in ("models", "runs") for key in store.keys(kind)
    )


def test_a_step_that_builds_on_a_result_broken_meanwhile_mends_it(work, monkeypatch, capfd):
    words = ["run", "--suite", "tiny-suite", "--device", "cpu", "--workers", "0"]
    words += ["-p", "tiny_plugin.py"]
    write = Store.write

    def writing(self, kind, key, facts, tensors):
        write(self, kind, key, facts, tensors)
        if kind == "models" and not (work / "damaged").exists():
            (work / "damaged").touch()
            (self.root / kind / key / "tensors.safetensors").write_bytes(b"x")

    monkeypatch.setattr(Store, "write", writing)

    assert main(words) == 0
    captured = capfd.readouterr()
    assert "corrupt; rebuilding" in captured.err
    assert Store(work / "runs").keys("runs")


def test_runs_of_an_edited_backbone_and_of_an_earlier_harness_share_no_table(
    unlearn, finished, work, monkeypatch
):
    plugin = work / "tiny_plugin.py"
    plugin.write_text(plugin.read_text().replace("nn.Conv2d(channels, 8", "nn.Conv2d(channels, 9"))
    plugin.write_text(plugin.read_text().replace("BatchNorm2d(8)", "BatchNorm2d(9)"))
    plugin.write_text(plugin.read_text().replace("Linear(32", "Linear(36"))
    unlearn("run", "--suite", "tiny-suite")
    unlearn("leaderboard")
    edited = (work / "leaderboards" / "tiny.md").read_text()
    for module in ("runs.keys", "runs.recording", "records.versions"):
        monkeypatch.setattr(f"harness.{module}.CODE", 10**6)
    unlearn("run", "finetune", "--scenario", "tiny")
    unlearn("leaderboard")
    raised = (work / "leaderboards" / "tiny.md").read_text()

    assert "Runs: 12, with seeds 0–1." in edited
    assert "Left out: 12 runs" in edited
    assert "Runs: 10, with seeds 0–1." in raised
    assert "Left out: 24 runs" in raised


@pytest.mark.parametrize("out", [".", "./."])
def test_a_page_never_takes_the_place_of_a_foreign_file(unlearn, finished, work, out):
    (work / "README.md").write_bytes(b"My own words, in Latin-1: \xe9t\xe9")

    status, _, err = unlearn("leaderboard", "--out", out)

    assert status == 2
    assert err.startswith("unlearn: README.md was not written by `unlearn leaderboard`")
    assert err.count("\n") == 1
    assert b"My own words" in (work / "README.md").read_bytes()
    assert not (work / "records").exists()
    assert not (work / "tiny.md").exists()


def test_a_folder_or_a_text_in_another_code_among_the_pages_is_left_alone(unlearn, finished, work):
    unlearn("leaderboard")
    (work / "leaderboards" / "folder.md").mkdir()
    (work / "leaderboards" / "latin.md").write_bytes(b"\xe9t\xe9")

    assert unlearn("leaderboard", "--check")[0] == 0
    assert unlearn("leaderboard")[0] == 0
    assert (work / "leaderboards" / "latin.md").exists()


def test_records_in_another_code_are_told_in_one_line(unlearn, work):
    (work / "leaderboards" / "records").mkdir(parents=True)
    (work / "leaderboards" / "records" / "s.jsonl").write_bytes(b'{"kind": "\xe9"}')

    status, _, err = unlearn("leaderboard")

    assert status == 2
    assert "s.jsonl: not UTF-8 at byte 10" in err
    assert err.count("\n") == 1


def test_a_strangers_record_writes_nothing_outside_the_folder(unlearn, finished, work):
    unlearn("leaderboard")
    path = work / "leaderboards" / "records" / "tiny.jsonl"
    path.write_text(path.read_text().replace('"name": "tiny"', '"name": "../../evil"'))

    status, _, err = unlearn("leaderboard", "--store", "none")

    assert status == 2
    assert "tiny.jsonl, line" in err
    assert not list(work.parent.glob("**/evil*"))


def test_an_older_store_never_replaces_a_newer_measurement(unlearn, finished, work):
    shutil.copytree(work / "runs", work / "old")
    for version, store in ((1, "old"), (2, "runs")):
        (work / "mine.py").write_text(PROTOCOL.format(value=f"{version}.0", version=version))
        unlearn("measure", "-p", "mine.py", "--store", store)
    unlearn("leaderboard")
    newest = pages("leaderboards")

    unlearn("leaderboard", "--store", "old")

    assert "2.0 ± 0.0 (+0.0)" in newest["tiny.md"]
    assert pages("leaderboards") == newest


def test_a_run_names_the_logits_that_it_and_its_references_left(unlearn, finished, work):
    store = Store(work / "runs")
    for run_id in store.keys("runs"):
        facts = store.read("runs", run_id).facts
        line = facts["line"]
        behind = [facts["logits"], *facts["retrained"]]
        found = [digest(store.read("logits", key).tensors) for key in behind]

        assert found == [line["digest"], *line["retrained"]]
        assert len({*found, line["original"]}) >= 4
        assert (line["method"] == "original") == (line["original"] == line["digest"])
        assert (line["method"] == "retrain") == (line["digest"] in line["retrained"])
    outcomes = {
        store.read("measurements", key).facts["line"]["outcome"]
        for key in store.keys("measurements")
    }
    assert len(outcomes) == 12


def test_a_failure_is_kept_with_its_reason_until_the_run_succeeds(unlearn, work):
    (work / "mine.py").write_text(METHOD.format(body="raise RuntimeError('no luck')"))
    wanted = Wanted(
        methods=("mine",),
        scenarios=("tiny",),
        replicates=1,
        plugins=("tiny_plugin.py", "mine.py"),
        device="cpu",
    )
    unlearn("run", "mine", "--scenario", "tiny", "--replicates", "1", "-p", "mine.py")
    workspace, plan = prepare(wanted, load_catalog(wanted.plugins))
    step = next(s for s in plan.steps if (s.id.kind, s.run.method) == ("models", "mine"))
    run_step = next(s for s in plan.steps if (s.id.kind, s.run.method) == ("runs", "mine"))

    record_failure(step, "RuntimeError: no\nluck", workspace.store)
    (failure,) = (
        x for x in stored_lines(workspace.store, print) if isinstance(x, Run) and x.reason
    )
    workspace.store.write("models", *_model_facts(workspace, step))
    for each in plan.steps:
        if each.run.method == "mine" and each.id.kind != "models":
            do_step(each, workspace)

    assert (failure.status, failure.reason) == ("failed", "RuntimeError: no luck")
    assert (failure.run_id, failure.outcome, failure.cost.passes) == (run_step.id.key, "", 0)
    assert workspace.store.keys("failures") == []
    assert not any(x.reason for x in stored_lines(workspace.store, print) if isinstance(x, Run))


def _model_facts(workspace, step):
    """The original's weights as those of an unlearned model."""
    original = workspace.store.read(*step.needs[0])
    weights = {name: value for name, value in original.tensors.items() if name != ".probe"}
    logits = workspace.models(step.run.scenario).probed(weights, _probe(step.run, workspace))
    return (
        step.id.key,
        {**original.facts, "original": original.facts["digest"]},
        {**weights, ".probe": logits},
    )


@pytest.mark.parametrize(("method", "kind"), [("retrain", "models"), ("finetune", "measurements")])
def test_a_failure_of_a_reference_or_of_a_protocol_is_no_record(unlearn, finished, method, kind):
    wanted = Wanted(
        methods=("finetune",), scenarios=("tiny",), plugins=("tiny_plugin.py",), device="cpu"
    )
    workspace, plan = prepare(wanted, load_catalog(wanted.plugins))

    step = next(s for s in plan.steps if (s.id.kind, s.run.method) == (kind, method))
    record_failure(step, "why", workspace.store)

    assert workspace.store.keys("failures") == []
