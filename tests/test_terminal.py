"""The command as a process: it copes with any streams, encoding, folder and signals."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.commands.progress import Progress
from harness.plugins.catalog import load_catalog
from harness.records.store import Store
from harness.runs.audit import Audit
from harness.runs.plan import Problem, make_plan
from harness.specs.scenario import Replicate
from harness.terminal import one_line

CLI = [sys.executable, "-m", "harness.cli"]
RUN = [*CLI, "run", "finetune", "--scenario", "tiny", "--replicates", "1", "--defaults"]
RUN += ["-p", "tiny_plugin.py", "--device", "cpu", "--workers"]
STOPPED = "unlearn: stopped; run the same command again to continue\n"
BAD = os.fsdecode(b"caf\xe9")
"""A file name in Latin 1, as Python decodes it on Linux."""

ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

STREAMS = r"""
import sys
from harness.terminal import steady
with steady() as lost:
    print("out \udce9 \u00d7")
    print("err \udce9 \u00d7", file=sys.stderr)
    said = lost()
    print(f"lost: {said}", file=sys.stderr)
sys.exit(7)
"""


def environment(**changed):
    return {**os.environ, **changed}


def shell(line, **settings):
    """Runs STREAMS with shell redirections; returns the finished process."""
    return subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {line}', sys.executable, STREAMS],
        capture_output=True,
        check=False,
        **settings,
    )


@pytest.mark.parametrize(
    ("line", "out", "err"),
    [
        ("", "out \\udce9 ×\n", "err \\udce9 ×\nlost: \n"),
        (">/dev/full", "", "err \\udce9 ×\nlost: No space left on device\n"),
        ("2>/dev/full", "out \\udce9 ×\n", ""),
        (">&-", "", "err \\udce9 ×\nlost: \n"),
        ("2>&-", "out \\udce9 ×\n", ""),
        ("<&- >&- 2>&-", "", ""),
    ],
)
def test_no_stream_breaks_a_command(line, out, err):
    done = shell(line, env=environment(PYTHONUTF8="1"))

    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == (7, out, err)


def test_characters_outside_the_encoding_are_escaped():
    done = shell("", env=environment(**ASCII))

    assert done.stdout == b"out \\udce9 \\xd7\n"


def test_the_descriptor_of_a_closed_stream_is_not_reused_for_a_file(tmp_path):
    code = (
        "from pathlib import Path; import os\n"
        "from harness.terminal import steady\n"
        "with steady(), open('results', 'w') as file:\n"
        "    os.write(1, b'noise'), os.write(2, b'noise'), file.write('numbers')"
    )

    subprocess.run(
        ["bash", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, code], cwd=tmp_path, check=True
    )

    assert (tmp_path / "results").read_text() == "numbers"


def test_a_closed_pipe_does_not_affect_a_run_and_a_log_has_no_colours(work):
    with (work / "log").open("w") as log:
        started = subprocess.Popen(
            [*RUN, "0"], stdout=subprocess.PIPE, stderr=log, env=environment(FORCE_COLOR="1")
        )
        started.stdout.close()
        status = started.wait()

    assert status == 0
    assert (work / "log").read_text() == ""
    assert len(Store(work / "runs").keys("runs")) == 5


def test_the_working_directory_shadows_no_library_and_a_closed_pipe_is_quiet(tmp_path):
    for name in ("random", "argparse", "queue", "socket", "json", "numpy", "torch", "tabulate"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('shadowed')")
    command = f"{sys.executable} -m harness.cli list | head -1; exit ${{PIPESTATUS[0]}}"

    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "methods\n", "")


def test_standard_output_on_a_full_disk_gives_a_one_line_error_and_status_2(tmp_path):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m harness.cli --help > /dev/full"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr == "unlearn: cannot write to standard output: No space left on device\n"


def test_undecodable_file_names_work_in_an_ascii_terminal(work):
    (work / "tiny_plugin.py").rename(work / f"{BAD}.py")
    words = [word.replace("tiny_plugin", BAD) for word in RUN]
    words += ["0", "--store", BAD, "--data", BAD]

    done = subprocess.run(
        words, capture_output=True, text=True, env=environment(**ASCII), check=False
    )
    page = subprocess.run(
        [*CLI, "leaderboard", "--store", BAD, "--out", f"{BAD}-out"],
        capture_output=True,
        env=environment(**ASCII),
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "did 5 models" in done.stdout
    assert page.returncode == 0
    assert page.stdout.endswith(b"see caf\\udce9-out/README.md\n")
    assert "±" in (work / f"{BAD}-out" / "tiny.md").read_text("utf-8")


def test_a_signal_stops_the_command_even_if_a_library_swallows_exceptions_on_import(tmp_path):
    (tmp_path / "torch.py").write_text(
        "import time\n"
        "print('importing', flush=True)\n"
        "while True:\n"
        "    try:\n"
        "        time.sleep(60)\n"
        "    except BaseException:\n"
        "        pass\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        started = subprocess.Popen(
            [*CLI, "list"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(PYTHONPATH=paths),
        )
        started.stdout.readline()
        started.send_signal(number)
        _, err = started.communicate(timeout=60)

        assert (started.returncode, err) == (128 + number, STOPPED)


SLEEPER = """

from dataclasses import dataclass
from pathlib import Path
import os
import time
from harness import Method

@dataclass(frozen=True)
class Config:
    pass

def sleep(task, config):
    Path("pid").write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)

@hookimpl
def unlearning_methods():
    return [Method("sleeper", sleep, Config())]
"""


def test_sigterm_stops_a_run_with_its_processes(work):
    with (work / "tiny_plugin.py").open("a") as plugin:
        plugin.write(SLEEPER)
    words = ["sleeper" if word == "finetune" else word for word in [*RUN, "1"]]
    started = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    pid = work / "pid"
    while not pid.exists() or not pid.read_text():
        assert started.poll() is None
        time.sleep(0.05)

    started.terminate()
    _, err = started.communicate(timeout=60)

    assert (started.returncode, err) == (143, STOPPED)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid.read_text()}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Screen(io.StringIO):
    """A stream that claims to be a terminal, or not to be one."""

    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.mark.parametrize(
    ("terminal", "changed", "expected"),
    [
        (True, {}, (True, True)),
        (True, {"NO_COLOR": "1"}, (True, False)),
        (True, {"TERM": "dumb"}, (False, False)),
        (False, {"FORCE_COLOR": "1"}, (False, False)),
        (False, {"TTY_COMPATIBLE": "1"}, (False, False)),
    ],
)
def test_progress_is_shown_only_on_a_capable_terminal(
    work, monkeypatch, terminal, changed, expected
):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", **changed}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Screen(terminal))
    catalog = load_catalog(["tiny_plugin.py"])
    tiny = catalog.scenarios["tiny"]
    plan = make_plan(
        [Problem(tiny, [Replicate(0, 0)], [], Audit(()))], catalog, {tiny.dataset: "data"}
    )

    with Progress(plan, 1).showing(plan):
        pass

    text = sys.stderr.getvalue()
    coloured = re.search(r"\x1b\[[0-9;]*m", text)
    assert (bool(text), bool(coloured)) == expected


def test_the_public_api_is_complete_and_imports_torch_only_on_use():
    code = (
        "import sys, harness; cheap = 'torch' not in sys.modules; from harness import *; "
        "assert cheap and Data.__module__ == 'harness.specs.data' and 'Task' in dir(harness)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_line_escapes_every_unprintable_character():
    assert one_line("a\nb\x1b[31m\u2028 × é \udce9") == "a\\nb\\x1b[31m\\u2028 × é \\udce9"
