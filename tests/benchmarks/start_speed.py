"""How long each verb takes to start, beside the import of torch alone.

    python tests/benchmarks/start_speed.py [repeats]

Every command runs once in each round, after one round that is not counted, so that all meet the
same load of the machine. The CPU time is that of the process and of those it waited for. Median,
and in brackets the lowest and the highest.
"""

import os
import platform
import statistics
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
UNLEARN = "import sys; from harness.cli import main; sys.exit(main({words}))"
VERBS = (
    ["--version"],
    ["--help"],
    ["run", "--help"],
    ["show", "0", "--out", str(LEADERBOARDS)],
    ["leaderboard", "--check", "--out", str(LEADERBOARDS)],
    ["list", "scenarios"],
    ["doctor"],
    ["run", "finetune", "--dry-run"],
)
COMMANDS = {
    "python -c pass": "pass",
    "import harness": "import harness",
    "import torch": "import torch",
    **{f"unlearn {' '.join(words[:2])}": UNLEARN.format(words=words) for words in VERBS},
}


def measured(code):
    """Wall seconds, CPU seconds and peak MB of a new process."""
    start = time.perf_counter()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", code],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0o600) for number in (1, 2)
        ],
    )
    _, _, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def spread(values, digits):
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def main():
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        print("PYTHONDONTWRITEBYTECODE was set; it is not for these commands")
    found = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for number in range(repeats + 1):
            for name, code in COMMANDS.items():
                one = measured(code)
                if number:
                    found[name].append(one)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "numpy"))
    print(f"n = {repeats}; Python {platform.python_version()}, {versions}; {os.cpu_count()} CPUs")
    print("| command | wall seconds | CPU seconds | peak MB |\n|---|---|---|---|")
    for name, values in found.items():
        wall, cpu, memory = zip(*values, strict=True)
        print(f"| `{name}` | {spread(wall, 2)} | {spread(cpu, 2)} | {spread(memory, 0)} |")


if __name__ == "__main__":
    main()
