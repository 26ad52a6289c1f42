"""Which pool counts of each protocol that is measured with further models. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from harness.records.lines import Measurement, Pool


def pools_that_count(lines: Iterable[Measurement]) -> dict[str, Pool]:
    """Protocol → its largest pool; of several, that of most runs, then the first by digest.

    A protocol that is measured without a pool is not in it.
    """
    counts: dict[str, Counter[Pool]] = defaultdict(Counter)
    for line in lines:
        if line.pool is not None:
            counts[line.protocol][line.pool] += 1
    return {
        protocol: min(runs, key=lambda pool: (-pool.size, -runs[pool], pool.digest))
        for protocol, runs in sorted(counts.items())
    }
