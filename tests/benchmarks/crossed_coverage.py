"""Simulates crossed replicates, and counts how often the 95 % interval covers the true mean.

python tests/benchmarks/crossed_coverage.py [SAMPLES]

Values are a model's effect + a forget set's effect + a residual, each normal, with several shares
of their variances. Columns: the interval of pages; the same with min(m, f) - 1 degrees of freedom;
the plain t-interval over all replicates; and the median half-widths of the first two.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.leaderboard.clusters import counts, independent, mean_error
from harness.leaderboard.grouping import ReplicateKey

Floats = NDArray[np.float64]

FULL = [(i, j) for i in range(3) for j in range(3)]
LAYOUTS: dict[str, list[ReplicateKey]] = {
    "3 × 3": FULL,
    "6 × 6": [(i, j) for i in range(6) for j in range(6)],
    "3 × 3 less one pair": FULL[:-1],
    "3 × 3, two diagonals": [(i, (i + shift) % 3) for shift in range(2) for i in range(3)],
    "3 × 3, diagonal and one": [(0, 0), (1, 1), (2, 2), (0, 1)],
}
VARIANCES = (
    (0, 0, 1),
    (0.1, 0.1, 1),
    (0.3, 0.3, 1),
    (1, 0, 1),
    (1, 1, 1),
    (3, 0, 1),
    (3, 0.3, 1),
    (10, 0, 1),
    (1, 1, 0.1),
    (10, 10, 1),
    (100, 5, 1),
)
"""Of the models, of the forget sets, and of the residual."""


def draws(layout: list[ReplicateKey], variances: tuple[float, ...], samples: int) -> Floats:
    """(samples, replicates), of mean 0."""
    rng = np.random.default_rng(0)
    models, forget_sets = counts(layout)
    by_model, by_forget, by_pair = (
        np.sqrt(variance) * rng.normal(size=(samples, n))
        for variance, n in zip(variances, (models, forget_sets, len(layout)), strict=True)
    )
    first, second = np.array(layout).T
    return by_model[:, first] + by_forget[:, second] + by_pair


def main(samples: int = 100_000) -> None:
    """Prints the coverage in each layout, for each set of variances."""
    for name, layout in LAYOUTS.items():
        print(f"{name}, {samples} samples each")
        for variances in VARIANCES:
            values = draws(layout, variances, samples)
            found = mean_error(values, layout)
            assert found is not None
            plain = values.std(axis=1, ddof=1) / np.sqrt(len(layout))
            halves = [
                special.stdtrit(found.degrees, 0.975) * found.error,
                special.stdtrit(independent(layout) - 1, 0.975) * found.error,
                special.stdtrit(len(layout) - 1, 0.975) * plain,
            ]
            covered = "  ".join(f"{(np.abs(values.mean(axis=1)) <= h).mean():.1%}" for h in halves)
            widths = "  ".join(f"{np.median(half):.2f}" for half in halves[:2])
            print(f"  {variances!s:15}  {covered}   {widths}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
