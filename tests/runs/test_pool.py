"""Commands that are killed, are stopped or share a store lose and duplicate no results."""

import os
import signal
import subprocess
import sys

import pytest
from suites import without_seconds

from harness.cli import main
from harness.records.store import Store

CHILD = """
import os, pathlib, signal, sys
sys.path.insert(0, os.getcwd())
from harness.cli import main
import harness.records.store as store
import safetensors.torch as safetensors

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
    safetensors.save_file = dying(safetensors.save_file)
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
def test_kill_9_at_ten_moments_loses_and_duplicates_no_results(unlearn, finished, work):
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


def test_a_result_that_breaks_during_a_run_is_rebuilt(work, monkeypatch, capfd):
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
