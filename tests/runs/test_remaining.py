"""Runs redo results that are damaged, outdated or superseded, and keep those of newer versions."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from harness.records.store import Store, digest
from harness.runs.steps import LOGITS_OF_PROBE

RUN = ("run", "finetune", "--scenario", "tiny", "--replicates", "1", "--defaults")


@pytest.fixture
def finished(unlearn):
    """One finished replicate of original, retrained models and a method."""
    status, out, err = unlearn(*RUN)
    assert (status, err) == (0, "")
    assert "did 5 models, 5 logits, 5 runs, 20 measurements; 0 of 35" in out


def keys(kind, method):
    store = Store(Path("runs"))
    return [
        key
        for key in store.keys(kind)
        if store.read(kind, key).facts["run"].split(" ")[0] == method
    ]


def lines():
    store = Store(Path("runs"))
    return [store.read("runs", key).facts["line"] for key in store.keys("runs")]


def page():
    return Path("leaderboards/tiny.md").read_text()


def edit(old, new):
    path = Path("tiny_plugin.py")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_rerunning_the_original_reruns_everything_that_depends_on_it(unlearn, finished):
    dry = unlearn(*RUN, "--again", "original", "--dry-run")
    status, out, err = unlearn(*RUN, "--again", "original")

    # the retrained models do not depend on it, but their runs name its logits
    counts = (
        "2 models, 2 logits, 5 runs, 20 measurements; 6 of 35 results were already in the store"
    )
    assert (status, err) == (0, "")
    assert f"would do {counts}" in dry[1]
    assert f"did {counts}" in out
    assert "35 of 35" in unlearn(*RUN)[1]


def test_a_dry_run_discards_nothing(unlearn, finished):
    unlearn(*RUN, "--again", "original", "--dry-run")

    assert "35 of 35" in unlearn(*RUN)[1]


@pytest.mark.parametrize("damage", ["lose", "break"])
def test_a_lost_or_broken_model_is_rebuilt_with_everything_that_depends_on_it(
    unlearn, finished, damage
):
    (key,) = keys("models", "original")
    folder = Path("runs/models") / key
    shutil.rmtree(folder) if damage == "lose" else (folder / "facts.json").write_text("{")

    _, out, err = unlearn(*RUN)

    assert "did 2 models, 2 logits, 5 runs, 20 measurements" in out
    assert ("corrupt; rebuilding" in err) == (damage == "break")


def replace_numbers(kind, key):
    """Replaces a model or logits with slightly different numbers, as from another machine."""
    store = Store(Path("runs"))
    entry = store.read(kind, key)
    tensors = {name: value.clone() for name, value in entry.tensors.items()}
    own = {name: value for name, value in tensors.items() if name != LOGITS_OF_PROBE}
    name = min(name for name, value in own.items() if value.is_floating_point())
    own[name].view(-1)[0] += 1
    store.write(kind, key, {**entry.facts, "digest": digest(own)}, tensors)


def test_a_model_unlearned_from_a_different_original_is_rebuilt(unlearn, finished, monkeypatch):
    monkeypatch.setattr(
        "harness.runs.steps.difference", lambda *_: ""
    )  # as if the model had computed these logits
    (original,) = keys("models", "original")
    replace_numbers("models", original)
    before = digest(Store(Path("runs")).read("models", *keys("models", "finetune")).tensors)

    _, out, err = unlearn(*RUN)

    after = digest(Store(Path("runs")).read("models", *keys("models", "finetune")).tensors)
    assert "did 1 models, 2 logits, 5 runs, 20 measurements" in out
    assert "it was not made from the original now in the store" in err
    assert after != before
    assert "35 of 35" in unlearn(*RUN)[1]


def test_a_run_whose_logits_have_changed_is_recorded_and_measured_again(unlearn, finished):
    for key in keys("logits", "finetune"):
        replace_numbers("logits", key)

    _, out, err = unlearn(*RUN)

    assert "did 0 models, 0 logits, 1 runs, 4 measurements" in out
    assert "it was not made from the logits now in the store" in err
    line = next(each for each in lines() if each["method"] == "finetune")
    (key,) = keys("logits", "finetune")
    assert line["digest"] == digest(Store(Path("runs")).read("logits", key).tensors)


def test_measure_leaves_out_a_run_whose_logits_have_changed(unlearn, finished):
    for key in keys("logits", "finetune"):
        replace_numbers("logits", key)
    Path("new.py").write_text(PROTOCOL)

    status, out, err = unlearn("measure", "-p", "new.py")

    assert status == 0
    assert "finetune · tiny · seed 0: left out: it was not made from the logits" in err
    assert "measured 4 of 24" in out


PROTOCOL = """
from harness import Estimate, Metric, Protocol, hookimpl

@hookimpl
def unlearning_protocols():
    return [Protocol("new", 1, (Metric("one"),), lambda evidence: {"one": Estimate(1.0)})]
"""


TWO = 'backbone="tiny-net",\n    recipe=Recipe(epochs=2'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (TWO, TWO.replace("2", "3")),
        ("torch.randint(0, 80,", "torch.randint(0, 81,"),
        ("nn.ReLU(),", "nn.ReLU(inplace=False),"),
    ],
    ids=["recipe", "data", "backbone"],
)
def test_the_page_shows_the_current_definition_after_an_edit_and_after_its_undo(
    unlearn, finished, old, new
):
    unlearn("leaderboard")
    before = page().partition("## Provenance")[0]
    edit(old, new)
    unlearn(*RUN)
    unlearn("leaderboard")
    between = page()
    edit(new, old)

    _, out, _ = unlearn(*RUN)
    unlearn("leaderboard")

    assert "did 0 models, 0 logits, 5 runs, 0 measurements" in out
    assert between != before
    assert page().partition("## Provenance")[0] == before
    assert "35 of 35" in unlearn(*RUN)[1]


def newer(kind="runs", method="finetune"):
    """Changes one result as if a newer version had written it; returns its file."""
    store = Store(Path("runs"))
    ids = [each["run_id"] for each in lines() if each["method"] == method]
    key = next(k for k in store.keys(kind) if store.read(kind, k).facts["line"]["run_id"] in ids)
    facts = json.loads(json.dumps(store.read(kind, key).facts))
    facts["line"]["room"] = 3
    store.write(kind, key, facts, None)
    return store.root / kind / key / "facts.json"


@pytest.mark.parametrize(("kind", "count"), [("runs", 5), ("measurements", 1)])
def test_run_neither_counts_nor_overwrites_results_of_a_newer_version(
    unlearn, finished, kind, count
):
    path = newer(kind)
    before = path.read_bytes()

    for words in ([], ["--dry-run"], ["--again", "finetune"]):
        status, out, err = unlearn(*RUN, *words)

        assert status == 1
        assert f"unlearn: {count} results are of a newer version of this program" in err
        assert err.count("\n") == 1
        assert f"{35 - count} of 35" in out or words == ["--again", "finetune"]
        assert path.read_bytes() == before


def test_measure_leaderboard_and_show_report_results_of_a_newer_version(unlearn, finished):
    path = newer()
    Path("new.py").write_text(PROTOCOL)

    measured = unlearn("measure", "-p", "new.py")
    rendered = unlearn("leaderboard")
    shown = unlearn("show", path.parent.name)

    assert measured[0] == 0
    assert (
        "1 runs were written by a newer version of this program; kept, not measured"
        in (measured[2])
    )
    assert rendered[0] == 0
    assert "1 results of" in rendered[2]
    assert "newer version of this program; kept, not shown" in rendered[2]
    assert shown[0] == 2
    assert "newer version" in shown[2]
    assert "| finetune" not in page()
    assert path.exists()


def test_a_run_of_an_earlier_version_of_the_harness_is_still_measured(unlearn, finished):
    store = Store(Path("runs"))
    for kind in ("models", "logits", "runs", "measurements"):
        for key in store.keys(kind):
            entry = store.read(kind, key)
            facts = json.loads(json.dumps(entry.facts))
            for name in ("digest", "original", "model", "outcome"):
                facts.pop(name, None)
                facts.get("line", {}).pop(name, None)
            facts.get("line", {}).pop("retrained", None)
            facts.get("line", {}).pop("reason", None)
            store.write(kind, key, facts, entry.tensors or None)
    Path("new.py").write_text(PROTOCOL)

    status, out, err = unlearn("measure", "-p", "new.py")

    assert (status, err) == (0, "")
    assert "measured 5 of 25" in out


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_second_leaderboard_waits_for_the_first_and_says_so(
    unlearn, finished, monkeypatch, unbuffered
):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    unlearn("leaderboard")
    lock = FileLock("leaderboards/.lock")
    words = [sys.executable, "-m", "harness.cli", "leaderboard"]

    with lock:
        second = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = second.stderr.readline()
        still = second.poll()
    out, rest = second.communicate()

    assert "waiting for another `unlearn leaderboard` that writes to leaderboards" in said
    assert still is None
    assert (second.returncode, rest) == (0, "")
    assert "0 files changed" in out


def test_two_leaderboard_commands_at_once_lose_no_pages(unlearn, finished):
    unlearn("run", "random-labels", "--scenario", "tiny", "--replicates", "1", "--store", "second")
    words = [sys.executable, "-m", "harness.cli", "leaderboard", "--store"]

    both = [subprocess.Popen([*words, store]) for store in ("runs", "second")]
    ends = [each.wait() for each in both]

    assert ends == [0, 0]
    assert Path("leaderboards/finetune.md").exists()
    assert Path("leaderboards/random-labels.md").exists()
    assert "| finetune" in page()
    assert "| random-labels" in page()
    assert unlearn("leaderboard", "--check", "--store", "none")[0] == 0
