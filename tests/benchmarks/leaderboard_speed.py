"""Times the numbers and the pages of tables of many methods, on lines made in memory.

python tests/benchmarks/leaderboard_speed.py [METHODS ...]
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from time import perf_counter

from harness import Cost, Estimate, RandomFraction, Recipe, Replicate, Scenario
from harness.leaderboard.pages import render
from harness.leaderboard.table import tables
from harness.records.lines import Basis, Line, Measurement, Run

REPLICATES, DRAWS = 10, 3
SCENARIO = Scenario("speed", "digits", "resnet18", Recipe(20, 0.1), RandomFraction(0.1))
HARDWARE = {"device": "cpu", "hardware": "a machine", "threads": 1, "commit": "c"}
PACKAGES = {"packages": {"torch": "2"}}


def model(rng: random.Random, method: str, seed: int, draw: int, offset: float) -> Iterator[Line]:
    """A run and its measurements by three protocols."""
    run_id = f"{method}-{seed}-{draw}"
    yield Run(
        run_id=run_id,
        scenario=SCENARIO,
        basis=Basis("hash"),
        replicate=Replicate(seed, seed),
        method=method,
        config={"epochs": 2, "lr": 0.1 * offset, "alpha": 0.5},
        draw=draw,
        source="source",
        status="finished",
        circumstances={**HARDWARE, **PACKAGES, "finished": "2026-01-01"},
        cost=Cost({"train": 1.0, "measure": 0.5}, 100.0),
        chosen="tuned, 20 trials",
        digest=run_id,
        original=f"original-{seed}-0",
        retrained=tuple(f"retrain-{seed}-{draw}" for draw in range(DRAWS)),
    )
    off = [Estimate(80 + offset * rng.gauss(1, 0.3), 0.0, 200.0, 500) for _ in range(6)]
    yield Measurement(run_id, "accuracy", 1, {"forget": off[0], "retain": off[1], "test": off[2]})
    yield Measurement(run_id, "loss-mia", 1, {"auc": off[3], "tpr@1%fpr": off[4]})
    yield Measurement(run_id, "confidence-mia", 1, {"svc": off[5]})


def lines(methods: int) -> list[Line]:
    """So many methods of unequal gaps beside the original and the retrained models."""
    rng, found = random.Random(0), []
    for seed in range(REPLICATES):
        found += model(rng, "original", seed, 0, 9.0)
        for draw in range(DRAWS):
            found += model(rng, "retrain", seed, draw, 0.1)
        for number in range(methods):
            found += model(rng, f"method-{number:04d}", seed, 0, 1 + 5 * number / methods)
    return found


def main(sizes: list[int]) -> None:
    """Prints the seconds of each size; a pass of the smallest before warms up."""
    render(lines(20))
    for methods in sizes:
        made = lines(methods)
        start = perf_counter()
        tables(made)
        middle = perf_counter()
        pages = render(made)
        both, numbers = perf_counter() - middle, middle - start
        print(
            f"{methods:5} methods, {len(made):6,} lines, {len(pages):5,} pages: numbers "
            f"{numbers:6.2f} s, numbers and pages {both:6.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [100, 200, 400, 1000])
