"""What several test files need: a folder to work in, and the command line with the tiny plugin."""

import os
import shutil
from pathlib import Path

import pytest

from harness.cli import main

TESTS = Path(__file__).parent


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty working directory that holds a copy of the tiny plugin."""
    shutil.copy(TESTS / "tiny.py", tmp_path / "tiny_plugin.py")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def unlearn(work, capsys):
    """Runs the command line in this process; gives (status, output, errors)."""

    def call(*words):
        words = [str(word) for word in words]
        if words[0] in ("run", "tune", "list", "measure", "doctor"):
            words += ["-p", "tiny_plugin.py"]
        if words[0] == "run":
            words += ["--workers", "0", "--device", "cpu"]
        status = main(words)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data; the test is skipped where there is none."""
    folder = Path(os.environ.get("UNLEARNING_TEST_DATA", TESTS.parents[1] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder
