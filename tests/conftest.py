"""What several test files need: a folder to work in, and the command line with the tiny plugin."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from harness import Data, RandomFraction, Recipe, Scenario, Task
from harness.cli import main

TESTS = Path(__file__).parent

torch.set_num_threads(1)  # a process that is forked from one with OpenMP threads can hang


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty working directory that holds a copy of the tiny plugin."""
    shutil.copy(TESTS / "fixtures" / "tiny.py", tmp_path / "tiny_plugin.py")
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


@pytest.fixture
def finished(unlearn):
    """A finished run of the tiny suite."""
    status, out, err = unlearn("run", "--suite", "tiny-suite", "--defaults")
    assert (status, err) == (0, ""), err
    return out


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data; the test is skipped where there is none."""
    folder = Path(os.environ.get("UNLEARNING_TEST_DATA", TESTS.parents[1] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder


def network():
    """A network with a convolution, a BatchNorm and a head, for images of 4 × 4 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)
    )


@pytest.fixture
def task():
    """What a method sees: 20 of 60 images to forget, of four classes, and an untrained network."""
    torch.manual_seed(0)
    images = torch.randint(0, 255, (60, 1, 4, 4), dtype=torch.uint8)
    data = Data.of(images, torch.arange(60) % 4)
    return Task(
        model=network(),
        retain=data.select(torch.arange(20, 60)),
        forget=data.select(torch.arange(20)),
        held_out=data.select(torch.arange(0)),
        untrained=network,
        scenario=Scenario("s", "d", "b", Recipe(10, 0.1, batch=10), RandomFraction(0.3)),
        generator=torch.Generator().manual_seed(0),
    )
