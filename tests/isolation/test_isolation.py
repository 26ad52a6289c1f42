"""A misbehaving method loses its own row and changes no bit of any other."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from harness.cli import main
from harness.records.store import Store

PLUGIN = """
import atexit, ctypes, gc, json, os, pdb, resource, signal, sys, threading, time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from harness import Method, fine_tune, hookimpl

@dataclass(frozen=True)
class Config:
    lr: float = 0.01

def sound(task, config):
    return fine_tune(task, task.retain, epochs=1, lr=config.lr)

class Silent(Exception):
    def __str__(self):
        raise ValueError

kept = []
{functions}

@hookimpl
def unlearning_methods():
    return [Method(name, function, Config()) for name, function in ({pairs}).items()]
"""

FAILING = {
    "exit": ("os._exit(0)", "the process died (status 0)"),
    "sys-exit": ("sys.exit(3)", "SystemExit: 3"),
    "kill": ("os.kill(os.getpid(), 9)", "the process died (status -9: out of memory, or killed)"),
    "fault": ("ctypes.string_at(0)", "the process died (status -11: SIGSEGV)"),
    "abort": ("os.abort()", "the process died (status -6: SIGABRT)"),
    "stop": ("os.kill(os.getpid(), signal.SIGSTOP)", "the process was stopped"),
    "group": ("os.killpg(0, 9)", "the process died (status -9: out of memory, or killed)"),
    "ctrl-c": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", "KeyboardInterrupt"),
    "term": ("os.kill(os.getpid(), signal.SIGTERM)", "the process died (status -15: SIGTERM)"),
    "loop": ("while True: pass", "it took longer than the 6 s of --step-timeout"),
    "ignores-signals": (
        "signal.pthread_sigmask(0, signal.valid_signals()); time.sleep(999)",
        "it took longer than the 6 s of --step-timeout",
    ),
    "debugger": ("breakpoint()", "use --workers 0"),
    "pdb": ("pdb.set_trace(); x = 1; x = 2", "BdbQuit: a debugger needs a terminal"),
    "input": ("input()", "input() needs a terminal"),
    "alarm": ("signal.alarm(1); time.sleep(9)", "the process died (status -14: SIGALRM)"),
    "silent": ("raise Silent", "Silent: no message"),
    "lines": ("raise ValueError('one\\ntwo')", "ValueError: one"),
    "base": ("raise BaseException('odd')", "BaseException: odd"),
    "deep": ("faulty = lambda: faulty(); faulty()", "RecursionError: maximum recursion depth"),
    "memory": ("resource.setrlimit(9, (2**20, 2**20)); kept.append(bytes(2**28))", "MemoryError"),
    "file-size": ("resource.setrlimit(1, (9, 9))", "cannot write to --store"),
    "descriptors": ("resource.setrlimit(7, (0, 0))", "cannot write to --store"),
    "nothing": ("return None", "MethodError: it returned None"),
    "huge": ("raise ValueError('x' * 10**7)", "ValueError: xxx"),
    "second-dies": ("if os.fork(): os._exit(0)", "the process died (status 0)"),
}
"""What a method does instead of returning a model → the reason reported."""

LITTERING = {
    "loss": "F.cross_entropy = lambda *_, **__: torch.zeros((), requires_grad=True)",
    "draw": "torch.randperm = lambda n, **_: torch.arange(n)",
    "autocast": "torch.set_autocast_enabled('cpu', True)",
    "kernels": "torch.backends.mkldnn.set_flags(False)",
    "dtype": "torch.set_default_dtype(torch.float64)",
    "fork-raises": "if not os.fork(): raise ValueError",
    "leak": "kept.append(np.ones(2**24))",
    "environment": "os.environ.clear()",
    "umask": "os.umask(0o777)",
    "priority": "os.nice(1)",
    "interrupts": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "json": "json.dumps = lambda *_, **__: '{}'",
    "paths": "sys.path.clear()",
    "labels": "[t.zero_() for t in gc.get_objects() "
    "if type(t) is torch.Tensor and t.dtype == torch.long]",
}
"""What a method does to its process before it raises an exception."""

HARMLESS = {
    "threads": "torch.set_num_threads(3)",
    "thread": "threading.Thread(target=time.sleep, args=(999,)).start()",
    "exit-hook": "atexit.register(os._exit, 7)",
    "timer": "signal.setitimer(signal.ITIMER_REAL, 30)",
    "fork": "os.fork()",
    "orphan": "os.fork() or time.sleep(999)",
    "daemon": "os.fork() or (os.setsid(), os.fork() or time.sleep(999), os._exit(0))",
    "closed": "os.closerange(3, 4096)",
    "streams": "os.closerange(0, 3)",
    "stdin": "sys.stdin.close()",
    "stdout": "sys.stdout = sys.stderr = None",
    "opened": "kept.extend(open(__file__) for _ in range(300))",
    "folder": "os.chdir('/')",
    "loader": "len([*DataLoader(TensorDataset(task.retain.labels), num_workers=1)])",
}
"""What a method does to its process and still succeeds."""


def write_plugin(work, bodies):
    """Writes a plugin whose methods run a body, then do what the sound method does."""
    functions = "".join(
        f"def method_{n}(task, config):\n    {body}\n    return sound(task, config)\n\n"
        for n, body in enumerate(bodies.values())
    )
    names = {f"a-{name}": f"method_{n}" for n, name in enumerate(bodies)}
    pairs = "".join(f"{name!r}: {function}, " for name, function in names.items())
    text = PLUGIN.replace("{functions}", functions)
    (work / "bad.py").write_text(text.replace("{pairs}", f"{{{pairs}'sound': sound}}"))


WORDS = ("run", "--scenario", "tiny", "--device", "cpu", "--replicates", "1")


def run(*words):
    return main([*WORDS, "-p", "tiny_plugin.py", "-p", "bad.py", *words])


def models(folder):
    """Run → the bytes of its model."""
    return {
        json.loads((path / "facts.json").read_text())["run"]: (
            path / "tensors.safetensors"
        ).read_bytes()
        for path in Path(folder).glob("models/*")
    }


def failures(folder):
    store = Store(Path(folder))
    lines = [store.read("failures", key).facts["line"] for key in store.keys("failures")]
    return {line["method"].removeprefix("a-"): line["reason"] for line in lines}


def left_behind(work):
    """The other processes whose working directory is this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cwd").readlink() == work and int(path.name) != os.getpid():
                found.append(path.name)
        except OSError:
            continue
    return found


@pytest.fixture
def alone(work):
    """The models of a run without any other method."""
    write_plugin(work, {})
    run("sound", "--workers", "0", "--store", "alone")
    return models(work / "alone")


def test_each_failing_method_loses_only_its_own_row_and_the_reason_is_reported(work, capfd, alone):
    write_plugin(work, {name: body for name, (body, _) in FAILING.items()})

    status = run(
        *[f"a-{name}" for name in FAILING], "sound", "--workers", "2", "--step-timeout", "6"
    )

    out, told = capfd.readouterr()[0], failures(work / "runs")
    assert status == 1
    assert {name: reason for name, (_, reason) in FAILING.items() if reason in told[name]} == {
        name: reason for name, (_, reason) in FAILING.items()
    }, told
    assert models(work / "runs") == alone
    assert "did 5 models, 5 logits, 5 runs, 20 measurements" in out
    assert left_behind(work) == []


def test_nothing_that_a_method_leaves_behind_affects_another(work, capfd, alone):
    ends = {name: f"{body}; raise ValueError('seen')" for name, body in LITTERING.items()}
    ends["fork-raises"] = "os.fork(); raise ValueError('seen')"
    write_plugin(work, {**ends, **HARMLESS})
    names = [f"a-{name}" for name in (*ends, *HARMLESS)]

    run(*names, "sound", "--workers", "2")

    made = models(work / "runs")
    assert failures(work / "runs") == dict.fromkeys(ends, "ValueError: seen")
    assert len(made) == len(alone) + len(HARMLESS)
    assert {row: made[row] for row in alone} == alone
    assert left_behind(work) == []


SPY = (
    "Path('seen').write_bytes(b''.join(t.contiguous().numpy().tobytes() for t in gc.get_objects() "
    "if type(t) is torch.Tensor and t.dtype == torch.uint8 and t.ndim == 4)); "
    "Path('granted').write_bytes(b''.join(task.__dict__[n].images.numpy().tobytes() "
    "for n in ('retain', 'forget')))"
)


def test_a_method_can_reach_no_images_in_memory_except_those_it_was_granted(work, capfd):
    plugin = work / "tiny_plugin.py"
    plugin.write_text(
        plugin.read_text().replace(
            "    replicates=2,", "    replicates=2,\n    retain_access=0.25,"
        )
    )
    write_plugin(work, {"spy": SPY})

    status = run("a-spy", "--workers", "1")

    size = 64  # bytes of an image
    seen, granted = (Path(name).read_bytes() for name in ("seen", "granted"))
    rows = {seen[at : at + size] for at in range(0, len(seen), size)}
    assert status == 0, capfd.readouterr().err
    assert len(granted) == (20 + 15) * size
    assert rows == {granted[at : at + size] for at in range(0, len(granted), size)}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_stopped_by_a_signal_leaves_no_process_behind(work, number, status):
    body = (
        "kept.append(iter(DataLoader(TensorDataset(task.retain.labels), num_workers=2))); "
        "os.fork() or time.sleep(999); Path('there').touch(); time.sleep(999)"
    )
    write_plugin(work, {"waiting": body})
    words = [*WORDS, "a-waiting", "--workers", "1", "-p", "tiny_plugin.py", "-p", "bad.py"]
    command = subprocess.Popen([sys.executable, "-m", "harness.cli", *words])
    while not (work / "there").exists():
        assert command.poll() is None
        time.sleep(0.05)

    command.send_signal(number)

    assert command.wait(60) == status
    assert left_behind(work) == []
    assert not Store(work / "runs").keys("failures")
    assert len(Store(work / "runs").keys("models")) == 4


CHANGES = {
    "eps": (
        "task.model.net[1].eps = 1.0",
        "its model's logits differ from those of a fresh network",
    ),
    "momentum": ("task.model.net[1].momentum = 0.5", ""),
    "mode": ("task.model.train().net[1].train = lambda *_: None", "its model's logits differ"),
    "double": ("return task.model.double()", "is torch.float64; expected the original's"),
    "parallel": ("return nn.DataParallel(task.model)", "it returned a DataParallel; expected the"),
    "class": (
        "nn.ReLU.forward = lambda self, x: x.sigmoid()",
        "its model's logits differ from those of a fresh network",
    ),
    "patched": ("return setattr(task.model, 'state_dict', dict) or task.model", "its state dict"),
    "mute": ("task.model.net[0].weight = nn.Parameter(torch.ones(1))", "its state dict differs"),
}
"""What a method does to its model → why it is not measured; empty if it is measured."""


def test_a_model_that_its_weights_do_not_determine_is_reported_as_changed(work, capfd):
    ends = {name: body.replace("return", "    return") for name, (body, _) in CHANGES.items()}
    write_plugin(work, {name: f"if True: {body.strip()}" for name, body in ends.items()})
    text = (work / "bad.py").read_text()
    (work / "bad.py").write_text(text.replace("\n    return sound(task, config)\n", AFTER))

    status = run(*[f"a-{name}" for name in CHANGES], "--workers", "2")

    err, store = capfd.readouterr().err, Store(work / "runs")
    lines = [store.read("runs", key).facts["line"] for key in store.keys("runs")]
    found = {line["method"].removeprefix("a-"): line for line in lines}
    assert status == 0, err
    for name, (_, reason) in CHANGES.items():
        recorded = found[name].get("reason", "")
        assert (found[name]["status"] == "finished") == (not reason), name
        assert reason in recorded
        assert (f"a-{name} · tiny · seed 0: changed: {recorded}" in err) == bool(reason)
    assert found["retrain"]["status"] == found["original"]["status"] == "finished"


AFTER = "\n    return task.model\n"


def test_a_run_waits_for_a_step_of_another_command_and_says_so_once(work, capfd):
    write_plugin(work, {})
    store = Store(work / "runs")
    run("sound", "--workers", "1")
    key = store.keys("models")[0]
    store.discard("models", key)
    holder = (
        "import sys, time; from pathlib import Path; from harness.records.store import Store\n"
        f"with Store(Path('runs')).lock('models', {key!r}): print('held', flush=True); "
        "time.sleep(5)"
    )
    words = [sys.executable, "-c", holder]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"

        status = run("sound", "--workers", "1")

    err = capfd.readouterr().err
    assert status == 0
    assert err.count("another command is working on it; waiting") == 1
    assert store.has("models", key)


def test_a_run_records_whether_its_model_was_made_in_its_own_process(work, capfd):
    write_plugin(work, {})
    for workers in ("0", "1"):
        run("sound", "--workers", workers, "--store", workers)

    for workers, isolated in (("0", False), ("1", True)):
        store = Store(work / workers)
        lines = [store.read("runs", key).facts["line"] for key in store.keys("runs")]
        assert {line["circumstances"]["isolated"] for line in lines} == {isolated}


def test_editing_a_plugin_during_a_command_does_not_affect_that_command(work, capfd, alone):
    text = "Path('bad.py').write_text('nonsense(') and Path('tiny_plugin.py').write_text('(')"
    write_plugin(work, {"editor": text})

    status = run("a-editor", "sound", "--workers", "1")

    assert status == 0
    assert {row: models(work / "runs")[row] for row in alone} == alone


def test_a_time_limit_needs_processes(work, capfd):
    write_plugin(work, {})

    status = run("sound", "--workers", "0", "--step-timeout", "5")

    assert status == 2
    assert "--step-timeout stops processes, and --workers 0 starts none" in capfd.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_steps_on_a_gpu_run_in_their_own_processes(work, capfd):
    write_plugin(work, {"exit": "os._exit(0)"})

    status = run("a-exit", "sound", "--workers", "1", "--device", "cuda")

    assert status == 1
    assert failures(work / "runs") == {"exit": "the process died (status 0)"}
    assert "did 5 models" in capfd.readouterr().out
