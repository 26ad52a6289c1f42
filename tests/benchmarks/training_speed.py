"""Times a training step of ``harness.train`` against its floor and against a plain PyTorch loop.

The floor is the same steps on batches that were prepared beforehand. The plain loop is the ordinary
one: PIL images, torchvision transforms, a DataLoader with 0 and with 2 workers (started before the
clock), NCHW, SGD. Everything is interleaved in one process; a ratio is taken within a round, and
the table gives the median over rounds with the smallest and the largest.

    python tests/benchmarks/training_speed.py [--threads 1 2] [--rounds 9] [--device cuda]
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from training_loops import (
    BF16,
    FLOOR,
    OURS,
    PLAIN,
    PLAIN_STEPS,
    Case,
    cases,
    competitors,
    difference,
)

from harness.runs.environment import circumstances
from harness.training.loop import synchronised

SECONDS_A_SETTING = 40.0
"""No further round begins after this, whatever ``--rounds`` says."""


def milliseconds(case: Case, rounds: int) -> dict[str, list[float]]:
    """A step's wall-clock milliseconds by row and round, after one epoch of each to warm up."""
    table = competitors(case)
    times: dict[str, list[float]] = {name: [] for name in table}
    begin = time.perf_counter()
    for number in range(rounds + 1):
        if number > 1 and time.perf_counter() - begin > SECONDS_A_SETTING:
            break
        names = list(table)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            ordinary = "NCHW" in name or "DataLoader" in name
            form = torch.contiguous_format if ordinary else torch.channels_last
            model = copy.deepcopy(case.network).to(memory_format=form)
            with synchronised(case.data.device):
                start = time.perf_counter()
                table[name](model)
            if number > 0:
                times[name].append((time.perf_counter() - start) / case.steps * 1e3)
    return times


def ratio(times: Mapping[str, list[float]], above: str, below: str) -> tuple[float, float, float]:
    """The median, the smallest and the largest of the rounds' ratios."""
    ratios = [a / b for a, b in zip(times[above], times[below], strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def report(case: Case, threads: int, times: Mapping[str, list[float]]) -> None:
    """Prints the table of one case, and its targets beside what was reached."""
    on_gpu = case.data.device.type == "cuda"
    n = len(times[FLOOR])
    print(f"\n### {case.name}, {threads} thread{'s' * (threads > 1)}, n = {n} rounds\n")
    print("| epoch of | ms a step (min – max) | against the floor (min – max) |\n|---|---|---|")
    for name, values in times.items():
        spread = f"{statistics.median(values):.2f} ({min(values):.2f} – {max(values):.2f})"
        median, low, high = ratio(times, name, FLOOR)
        print(f"| {name} | {spread} | {median:.3f} ({low:.3f} – {high:.3f}) |")
    plain = min((PLAIN.format(w) for w in (0, 2)), key=lambda name: statistics.median(times[name]))
    wanted = 8.0 if on_gpu else 1.0
    print()
    print(
        f"- largest difference of a weight after the floor's epoch and ours: {difference(case):g}"
    )
    verdict("harness.train / floor", ratio(times, OURS, FLOOR), at_most=1.05)
    verdict(f"{plain} / harness.train", ratio(times, plain, OURS), at_least=wanted)
    gain, low, high = ratio(times, PLAIN_STEPS, FLOOR)
    print(f"- of that, channels_last and the fused optimizer: {gain:.3f} ({low:.3f} – {high:.3f})")
    if on_gpu:
        faster = ratio(times, plain, OURS + BF16)
        verdict(f"{plain} (fp32) / harness.train{BF16}", faster, at_least=wanted)


def verdict(
    name: str,
    reached: tuple[float, float, float],
    *,
    at_most: float = float("inf"),
    at_least: float = 0.0,
) -> None:
    """Prints a ratio beside its target."""
    median, low, high = reached
    target = f"at least {at_least:g}" if at_least else f"at most {at_most:g}"
    met = "met" if at_least <= median <= at_most else "MISSED"
    print(f"- {name}: {median:.3f} ({low:.3f} – {high:.3f}); target {target}: {met}")


def describe(device: torch.device) -> str:
    """The hardware and the versions, in one line."""
    facts = circumstances(device, isolated=False)
    versions = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    return f"{facts['hardware']}, {os.cpu_count()} cores; Python {facts['python']}, {versions}"


def main() -> None:
    """Measures every case at every number of threads."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9, help="at most; a setting has 40 s")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--data", type=Path, help="a folder with CIFAR-10 (default: random images)")
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        sys.exit("training_speed.py: this machine has no CUDA device")
    try:
        todo = cases(torch.device(asked.device), asked.data)
    except RuntimeError as error:
        sys.exit(f"training_speed.py: {asked.data}: {error}")
    print(f"{describe(torch.device(asked.device))}; load at the start {os.getloadavg()[0]:.1f}")
    for case in todo:
        for threads in asked.threads:
            torch.set_num_threads(threads)
            report(case, threads, milliseconds(case, asked.rounds))
    print(f"\nLoad at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
