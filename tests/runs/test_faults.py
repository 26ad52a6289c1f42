"""Faulty methods, files and disks cost only their own row or command."""

import json
import subprocess
import sys

import pytest
import torch

from harness.cli import main
from harness.isolation.containment import contained

METHODS = """
import os, signal, sys
from dataclasses import dataclass
import torch
from harness import Method, fine_tune, hookimpl

@dataclass(frozen=True)
class Config:
    lr: float = 0.01

def sound(task, config):
    return fine_tune(task, task.retain, epochs=1, lr=config.lr)

def faulty(task, config):
    {body}
    return sound(task, config)

@hookimpl
def unlearning_methods():
    return [Method("a-faulty", faulty, Config()), Method("sound", sound, Config())]
"""


@pytest.fixture
def faulty(work, unlearn):
    """Runs a method with the given body next to a sound one."""

    def call(body, *words):
        (work / "faulty.py").write_text(METHODS.format(body=body))
        return unlearn("run", "--scenario", "tiny", "-p", "faulty.py", *words)

    return call


@pytest.fixture
def weights(work):
    """Key in the store → the bytes of that model."""

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
def test_global_state_changed_by_a_method_affects_no_other_run(
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


def test_torchs_settings_are_restored_after_an_exception():
    threads = torch.get_num_threads()

    with pytest.raises(KeyError), contained():
        changes_settings()

    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark


@pytest.mark.parametrize("body", ["sys.exit(0)", "sys.exit(3)", "raise BaseException('odd')"])
def test_a_method_that_tries_to_exit_only_fails(faulty, body):
    status, out, err = faulty(body, "a-faulty", "sound", "--replicates", "1")

    assert status == 1
    assert "a-faulty · tiny · seed 0: failed" in err
    assert "a-faulty failed:" in err
    assert "did 5 models, 5 logits, 5 runs, 20 measurements; 0 of 42" in out


def test_ctrl_c_during_a_method_stops_the_command(faulty):
    status, _, err = faulty("raise KeyboardInterrupt", "a-faulty", "--replicates", "1")

    assert (status, err) == (130, "unlearn: stopped; run the same command again to continue\n")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os._exit(0)", "the process died (status 0)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "(status -9: out of memory, or killed)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ('raise ValueError("red \\x1b[31m\\nand a second line")', "ValueError: red \\x1b[31m"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_method_that_kills_its_process_is_named_and_the_others_still_run(
    work, capfd, body, message, workers
):
    (work / "faulty.py").write_text(METHODS.format(body=body))
    words = f"run a-faulty sound --scenario tiny --device cpu --workers {workers} --replicates 1"
    words = [*words.split(), "-p", "tiny_plugin.py", "-p", "faulty.py"]

    status = main(words)

    captured = capfd.readouterr()
    assert status == 1
    assert "a-faulty · tiny · seed 0: failed" in captured.err
    assert message in captured.err
    assert "a-faulty failed:" in captured.err
    assert "did 5 models, 5 logits, 5 runs, 20 measurements; 0 of 42" in captured.out


PROTOCOL = """
from harness import Estimate, Metric, Protocol, hookimpl

@hookimpl
def unlearning_protocols():
    return [Protocol("new", 1, (Metric("one"),), lambda evidence: {"one": Estimate(1.0)})]
"""


def test_measure_leaves_out_a_run_with_damaged_logits_and_keeps_the_file(work, unlearn):
    (work / "new.py").write_text(PROTOCOL)
    unlearn("run", "finetune", "--scenario", "tiny", "--replicates", "1")
    facts = [json.loads(path.read_text()) for path in work.glob("runs/runs/*/facts.json")]
    logits = next(each["logits"] for each in facts if each["line"]["method"] == "finetune")
    path = work / "runs" / "logits" / logits / "tensors.safetensors"
    path.write_bytes(b"x")

    status, out, err = unlearn("measure", "-p", "new.py")

    assert status == 0
    assert "finetune · tiny · seed 0: left out" in err
    assert "its checksum differs" in err
    assert "measured 4 of 24; 20 already measured" in out
    assert path.exists()


def test_measure_without_a_store_is_an_error(unlearn):
    status, _, err = unlearn("measure", "--store", "nosuch")

    assert status == 2
    assert "--store nosuch: there is no such folder" in err


def test_measure_counts_in_one_line_the_runs_on_an_unknown_data_set(work, unlearn, capsys):
    unlearn("run", "finetune", "--scenario", "tiny", "--replicates", "1")
    (work / "new.py").write_text(PROTOCOL)

    status = main(["measure", "-p", "new.py", "--device", "cpu"])

    assert status == 0
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "left out" in x]
    assert "tiny: 5 runs: left out: unknown dataset 'tiny-set'" in line


def test_a_full_disk_stops_the_run_with_a_one_line_error(work):
    command = (
        f"ulimit -f 1; exec {sys.executable} -m harness.cli run finetune --scenario tiny "
        f"-p tiny_plugin.py --device cpu --workers 0 --defaults"
    )

    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("unlearn: cannot write to --store")
    assert done.stderr.count("\n") == 1
    assert not [*(work / "runs" / "drafts").iterdir()]


def test_a_module_edited_before_a_method_imports_it_leaves_no_result_or_record(work, unlearn):
    late = "from late import RATE\n    assert RATE"
    (work / "late.py").write_text("RATE = 1\n")
    (work / "faulty.py").write_text(METHODS.format(body=late))
    (work / "edits.py").write_text(
        "from pathlib import Path\n"
        + METHODS.format(body='Path("late.py").write_text("RATE = 2\\n")')
        .replace("a-faulty", "0-editor")
        .replace(', Method("sound", sound, Config())', "")
    )
    words = ("run", "0-editor", "a-faulty", "--scenario", "tiny", "--replicates", "1")
    plugins = ("-p", "edits.py", "-p", "faulty.py")

    first = unlearn(*words, *plugins)
    (work / "edits.py").write_text((work / "edits.py").read_text().replace("= 2", "= 2 "))
    second = unlearn(*words, *plugins)

    assert first[0] == 2
    assert "late was edited while it ran; the same command runs it again" in first[2]
    assert second[0] == 0
    lines = [
        json.loads(path.read_text())["line"]
        for path in work.glob("runs/*/*/facts.json")
        if path.parts[-3] in ("runs", "failures")
    ]
    assert {line["status"] for line in lines if line["method"] == "a-faulty"} == {"finished"}


def test_a_method_whose_result_is_always_broken_fails_and_the_others_still_run(work, capfd):
    body = 'import json; json.dumps = lambda *a, **k: "{}"'
    (work / "faulty.py").write_text(METHODS.format(body=body))
    words = "run a-faulty sound --scenario tiny --device cpu --workers 1 --replicates 1"

    status = main([*words.split(), "-p", "tiny_plugin.py", "-p", "faulty.py", "--defaults"])

    err = capfd.readouterr().err
    assert status == 1
    assert err.count("a-faulty · tiny · seed 0: corrupt; rebuilding") == 1
    assert "a-faulty · tiny · seed 0: failed" in err
    assert "sound" not in err
