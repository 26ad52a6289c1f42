"""The whole pipeline on a tiny problem: run, skip, resume, repair and render."""

import json

import pytest
from suites import METHOD, SOUND, without_seconds

from harness.records.store import Store


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


def test_repeating_a_command_does_nothing_and_says_so(unlearn, finished):
    status, out, _ = unlearn("run", "--suite", "tiny-suite")

    assert status == 0
    assert "did 0 models, 0 logits, 0 runs, 0 measurements; 84 of 84" in out


def test_the_same_seed_gives_the_same_records_in_another_store(unlearn, finished, work):
    unlearn("leaderboard")
    unlearn("run", "--suite", "tiny-suite", "--store", "second")
    unlearn("leaderboard", "--store", "second", "--out", "boards")

    assert without_seconds("boards") == without_seconds("leaderboards")


def test_more_replicates_are_added_to_the_existing_ones(unlearn, finished):
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


def test_a_plugin_gets_a_row_and_runs_again_after_an_edit(unlearn, finished, work):
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


def test_undoing_an_edit_of_a_plugin_shows_its_old_runs_without_training(unlearn, finished, work):
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


EXPECTED = "expected the unlearned model, an nn.Module"
OF_WEIGHTS = f"an OrderedDict; {EXPECTED}; return the model, not its state_dict()"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        (
            "return None",
            f"MethodError: it returned None; {EXPECTED}; did you forget `return`?",
        ),
        ("return task.model.state_dict()", f"MethodError: it returned {OF_WEIGHTS}"),
    ],
)
def test_a_failing_method_is_reported_and_the_others_still_run(unlearn, work, body, message):
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
def test_a_method_that_changes_the_architecture_has_an_unranked_row_that_says_so(
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


def test_a_method_undefined_for_a_scenario_has_a_row_that_says_why(unlearn, work):
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
def test_a_broken_file_is_reported_and_rebuilt(unlearn, finished, work, kind, damage):
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


def test_one_run_can_be_shown(unlearn, finished, work):
    run_id = Store(work / "runs").keys("runs")[0]

    status, out, _ = unlearn("show", run_id[:12])

    assert status == 0
    assert run_id in out
    assert "loss-mia.auc" in out


def test_runs_of_an_edited_backbone_or_an_earlier_harness_are_left_out_of_the_table(
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
