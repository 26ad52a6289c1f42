"""Times whole protocols that need a pool, replays or ensembles, and shows their peak memory.

python tests/benchmarks/mia_protocols_speed.py [SAMPLES [REFERENCES]]

The default is a run of the size of CIFAR-10, on evidence made in memory; a pass before warms up.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tracemalloc
from collections.abc import Callable
from time import perf_counter
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from harness.protocols import attack_r, forgetting_quality, klom, lira, rmia, u_lira
from harness.specs.evidence import (
    Cost,
    Ensembles,
    Evidence,
    Labels,
    Outputs,
    References,
    Replays,
)

REPEATS, CLASSES = 5, 10
OWN, SHARED = (rmia, lira, attack_r), (u_lira, klom, forgetting_quality)


def evidence(samples: int, number: int) -> Evidence:
    """A run of so many samples: a sixth is the test set, a twelfth the forget set.

    A tenth of the samples is audited, and each ensemble has half as many models as the pool.
    """
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, CLASSES, samples))
    train = samples - samples // 6
    order = rng.permutation(train)
    rows = order[: samples // 12], np.sort(order[samples // 12 :]), np.arange(train, samples)
    forget, retain, test = (torch.from_numpy(each) for each in rows)
    state = rng.permuted(np.tile([[0], [1]], (number // 2, samples)), axis=0).astype(np.int8)
    pool = np.empty((number, samples, CLASSES), dtype=np.float16)
    for model in range(number):
        pool[model] = _logits(rng, labels, state[model])
    everything = torch.from_numpy(_logits(rng, labels, np.zeros(samples)))

    def outputs() -> Outputs:
        logits = torch.from_numpy(_logits(rng, labels, np.zeros(samples)))
        return Outputs(logits[forget], logits[retain], logits[test])

    audit = slice(samples // 10)
    logits, states = torch.from_numpy(pool), torch.from_numpy(state)
    own = Labels(labels[forget], labels[retain], labels[test])
    half = number // 2
    return Evidence(
        Outputs(everything[forget], everything[retain], everything[test]),
        own,
        torch.arange(len(test)),
        (),
        Cost({}, 0.0),
        References(logits, states, labels, forget, retain, test, everything),
        Replays(logits[:, audit].clone(), 2 * states[:, audit], labels[audit]),
        Ensembles(
            tuple(outputs() for _ in range(half)), tuple(outputs() for _ in range(half)), own
        ),
    )


def _logits(
    rng: np.random.Generator, labels: torch.Tensor, inside: NDArray[np.number]
) -> NDArray[np.float32]:
    logits = rng.standard_normal((len(labels), CLASSES), dtype=np.float32)
    logits[np.arange(len(labels)), labels.numpy()] += 3 + inside
    return logits


def calls(given: Evidence) -> dict[str, Callable[[], object]]:
    """Name → everything that measuring one run with a protocol computes."""

    def whole(module: ModuleType) -> Callable[[], object]:
        (protocol,) = module.unlearning_protocols()
        parts = [protocol.measure, *([protocol.summarise] if protocol.summarise else [])]
        return lambda: [part(given) for part in parts]

    return {
        f"{module.__name__.rsplit('.', 1)[-1]}{', once a method' * (module in SHARED)}": whole(
            module
        )
        for module in (*OWN, *SHARED)
    }


def peak(call: Callable[[], object]) -> int:
    """The most bytes that NumPy held at once during a call."""
    tracemalloc.start()
    call()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def main(samples: int, number: int) -> None:
    """Prints the median seconds of each protocol and of all, then peaks of memory."""
    every = calls(evidence(samples, number))
    seconds: dict[str, list[float]] = {name: [] for name in every}
    for repeat in range(REPEATS + 1):
        for name, call in every.items():
            start = perf_counter()
            call()
            if repeat:
                seconds[name].append(perf_counter() - start)
    print(f"{samples:,} samples, {number} references, {CLASSES} classes, medians of {REPEATS};")
    print(f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}")
    for name, values in seconds.items():
        print(f"{name:36} {statistics.median(values):6.2f} s", flush=True)
    together = [sum(values) for values in zip(*seconds.values(), strict=True)]
    print(f"{'all of one run':36} {statistics.median(together):6.2f} s")
    print("peak memory, beside the evidence, and bytes a sample and reference:")
    sizes = (samples, number), (samples // 2, number), (samples, 2 * number)
    for n, k in sizes:
        peaks = {name: peak(call) for name, call in calls(evidence(n, k)).items()}
        for name, found in peaks.items():
            print(
                f"{n:,} × {k}  {name:36} {found / 1e6:7.1f} MB {found / n / k:7.1f} B", flush=True
            )


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:3]]
    main(*given, *(60_000, 16)[len(given) :])
