"""Each verb imports only what it needs, so that the command starts quickly."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.commands.verbs import VERBS

RECORDS = Path(__file__).parents[1] / "leaderboards" / "records"

LIBRARIES = ("timm", "torchvision", "sklearn", "optuna", "scipy.stats", "torch._dynamo")
"""Slow libraries, about a second each, that are imported only where they are used."""

MODULES = """
import sys

from harness.cli import main

status = main(sys.argv[1:])
print(status, *sorted(sys.modules), file=sys.stderr)
"""


def started(folder, words):
    """Runs a command in a new process; returns its status and every module it imported."""
    done = subprocess.run(
        [sys.executable, "-c", MODULES, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    status, *modules = done.stderr.splitlines()[-1].split()
    return int(status), modules


HELP = [("--help",), ("--version",), *((verb, "--help") for verb in VERBS)]


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_help_and_version_import_no_library(words, tmp_path):
    status, modules = started(tmp_path, words)

    outside = {name.partition(".")[0] for name in modules} - {*sys.stdlib_module_names}
    assert status == 0
    assert {name for name in outside if not name.startswith("_")} == {"harness"}
    assert not {"harness.records", "harness.specs", "harness.plugins"} & {*modules}


@pytest.fixture
def published(tmp_path):
    """A working directory with the records of one scenario, and the id of one of the runs."""
    name = "digits-random10-forget-only.jsonl"
    folder = tmp_path / "leaderboards" / "records"
    folder.mkdir(parents=True)
    shutil.copy(RECORDS / name, folder / name)
    lines = map(json.loads, (folder / name).read_text().splitlines())
    return tmp_path, next(line["run_id"] for line in lines if line["kind"] == "run")


def test_pages_are_rendered_and_runs_are_shown_without_torch(published):
    folder, run_id = published

    rendered = started(folder, ["leaderboard"])
    shown = started(folder, ["show", run_id])

    for status, modules in (rendered, shown):
        assert status == 0
        assert not {"torch", "pluggy", *LIBRARIES} & {*modules}


def test_records_are_loaded_without_torch(published):
    folder, _ = published
    program = "import harness, sys; print(len(harness.load_results('leaderboards')), *sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )

    count, *modules = done.stdout.split()
    assert int(count) > 1000
    assert not {"torch", *LIBRARIES} & {*modules}


@pytest.mark.parametrize("words", ["list", "list scenarios", "doctor"])
def test_listing_and_doctor_import_torch_but_no_slower_library(words, tmp_path):
    status, modules = started(tmp_path, words.split())

    assert status == 0
    assert "torch" in modules
    assert not {"pandas", "rich", *LIBRARIES} & {*modules}


def test_a_dry_run_does_not_import_optuna(tmp_path):
    status, modules = started(tmp_path, ["run", "finetune", "--dry-run"])

    assert status == 0
    assert "optuna" not in modules
