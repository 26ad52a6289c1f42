"""What methods, files and disks do wrong costs that row or that command, and nothing else."""

import pytest
import torch

from harness.isolation import contained

METHODS = """
import os, signal, sys
from dataclasses import dataclass
import torch
from harness import Method, hookimpl, train

@dataclass(frozen=True)
class Config:
    lr: float = 0.01

def sound(task, config):
    return train(task.model, task.retain, epochs=1, lr=config.lr, generator=task.generator)

def faulty(task, config):
    {body}
    return sound(task, config)

@hookimpl
def unlearning_methods():
    return [Method("a-faulty", faulty, Config()), Method("sound", sound, Config())]
"""


@pytest.fixture
def faulty(work, unlearn):
    """Runs a method with the given body beside a sound one."""

    def call(body, *words):
        (work / "faulty.py").write_text(METHODS.format(body=body))
        return unlearn("run", "--scenario", "tiny", "-p", "faulty.py", *words)

    return call


@pytest.fixture
def weights(work):
    """Every model's content, by its name in the store."""

    def read(store="runs"):
        return {
            path.parent.name: path.read_bytes()
            for path in work.glob(f"{store}/models/*/tensors.safetensors")
        }

    return read


LEAKS = {
    "recipe": 'object.__setattr__(task.scenario.recipe, "epochs", 7)',
    "config": 'object.__setattr__(config, "lr", 0.02)',
    "dtype": "torch.set_default_dtype(torch.float64); task.model.double()\n"
    "    task.model.float(); return task.model",
    "device": 'torch.set_default_device("meta"); return task.model',
    "grad": "torch.set_grad_enabled(False); return task.model",
    "folder": 'os.makedirs("elsewhere", exist_ok=True); os.chdir("elsewhere")',
}


@pytest.mark.parametrize("leak", LEAKS)
def test_what_a_method_changes_of_its_surroundings_changes_no_other_run(
    work, unlearn, faulty, weights, leak
):
    words = ("a-faulty", "sound", "--replicates", "2")
    alone = METHODS.format(body="pass")
    (work / "alone.py").write_text(alone.replace("a-faulty", "b"))
    unlearn("run", "sound", "--scenario", "tiny", "-p", "alone.py", "--store", "alone")

    status, _, err = faulty(LEAKS[leak], *words)

    lines = [path.read_text() for path in work.glob("runs/runs/*/facts.json")]
    assert (status, err) == (0, "")
    sources = [weights("alone"), weights()]
    references = [key for key in sources[0] if key in sources[1]]
    assert len(references) == 8  # an original and three retrained models a replicate
    assert all(sources[0][key] == sources[1][key] for key in references)
    assert len(lines) == 12
    assert not any('"lr": 0.02' in line for line in lines)
    assert not [*work.glob("elsewhere/*")]


def changes_settings():
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = True
    raise KeyError


def test_torchs_settings_are_put_back_after_an_exception():
    threads = torch.get_num_threads()

    with pytest.raises(KeyError), contained():
        changes_settings()

    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
