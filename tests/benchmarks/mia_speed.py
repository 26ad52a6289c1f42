"""Times the membership inference attacks for one model, on signals and logits made in memory.

python tests/benchmarks/mia_speed.py [SAMPLES [REFERENCES]]

Attacks start from cached signals; what is done once a pool has a line of its own. Whole protocols
are timed by mia_protocols_speed.py.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from time import perf_counter

import numpy as np

from harness.attacks import (
    forgetting_quality,
    klom,
    lira,
    population,
    reference_losses,
    references,
    rmia,
    signals,
    ulira,
)

REPEATS, CLASSES = 7, 10
Attack = Callable[[], object]


def attacks(samples: int, number: int) -> dict[str, Attack]:
    """Name → the attack on data of so many samples and references; half of the samples are IN."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, samples)
    logits = rng.normal(size=(samples, CLASSES)).astype(np.float32)
    logits[np.arange(samples), labels] += 3
    state = rng.permuted(np.tile([[0], [1]], (number // 2, samples)), axis=0).astype(np.int8)
    pool = rng.normal(size=(number, samples)) - 1
    pool = -np.logaddexp(0, -pool - state)
    target = signals.log_probability(logits, labels)
    log_p = references.reference_signal(pool)
    ratios = rmia.log_ratio(target, log_p)
    everyone = np.ones(samples, dtype=np.bool_)
    few = np.arange(samples) < min(samples, 2000)
    queries = np.repeat(ratios[few, None], 18, axis=1)
    return {
        "a pool: log p, online": lambda: references.reference_signal(pool),
        "a pool: log p, offline": lambda: references.reference_signal(pool, state, mode="offline"),
        "a pool: log p, trimmed": lambda: references.reference_signal(pool, trim=0.2),
        "signals of one model": lambda: signals.log_probability(logits, labels),
        "RMIA, log-ratio": lambda: rmia.log_ratio(target, log_p),
        "RMIA, count": lambda: rmia.count(ratios, everyone),
        "RMIA, log p + log-ratio + count": lambda: rmia.count(
            rmia.log_ratio(target, references.reference_signal(pool)), everyone
        ),
        "RMIA, vote of 18 queries, 2,000": lambda: rmia.vote(queries, everyone[few]),
        "Attack-R": lambda: reference_losses.attack_r(-target, -pool, state),
        "Attack-P": lambda: reference_losses.attack_p(-target, -target[few]),
        "modified entropy": lambda: population.modified_entropy(logits, labels),
    }


def likelihood_attacks(samples: int, number: int) -> dict[str, Attack]:
    """The same of the attacks on margins; a tenth of the samples is audited or forgotten."""
    rng = np.random.default_rng(1)
    inside = rng.permuted(np.tile([[False], [True]], (number // 2, samples)), axis=0)
    target, pool = rng.normal(size=samples), rng.normal(size=inside.shape) + inside
    audit = slice(samples // 10)
    state = 2 * inside[:, audit].astype(np.int8)
    unlearned = rng.normal(size=pool.shape)
    many = rng.normal(size=(2, 128, 10))
    return {
        "LiRA online, Student's law": lambda: lira.online(target, pool, inside, law="student"),
        "LiRA online, variance an example": lambda: lira.online(
            target, pool, inside, law="example"
        ),
        "LiRA online, pooled variance": lambda: lira.online(target, pool, inside, law="pooled"),
        "LiRA offline, Student's law": lambda: lira.offline(target, pool, inside, law="student"),
        "LiRA online, released": lambda: lira.released_online(target, pool, inside),
        "LiRA offline, released": lambda: lira.released_offline(target, pool, inside),
        "U-LiRA, all replays": lambda: ulira.ulira(pool[:, audit], state),
        "RULI, all replays": lambda: ulira.ruli(pool[:, audit], state),
        "KLOM": lambda: klom.klom(unlearned, pool),
        "KLOM's null, a tenth": lambda: klom.null(unlearned[:, audit], pool[:, audit]),
        "forgetting quality, 128 × 10": lambda: forgetting_quality.epsilons(*many),
    }


def main(samples: int, number: int) -> None:
    """Prints the median milliseconds of each attack; a pass before warms up."""
    every = attacks(samples, number) | likelihood_attacks(samples, number)
    seconds: dict[str, list[float]] = {name: [] for name in every}
    for repeat in range(REPEATS + 1):
        for name, attack in every.items():
            start = perf_counter()
            attack()
            if repeat:
                seconds[name].append(perf_counter() - start)
    print(f"{samples:,} samples, {number} references, {CLASSES} classes; medians of {REPEATS}")
    for name, values in seconds.items():
        print(f"{name:32} {1000 * statistics.median(values):8.1f} ms", flush=True)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:3]]
    main(*given, *(60_000, 16)[len(given) :])
