"""Simulates tables whose rows are equal, and counts those in which the ranks' test errs anywhere.

python tests/benchmarks/rank_errors.py [TABLES] [LEADERBOARDS]

29 rows of unequal spreads over 10 replicates, under several models of their log gaps; with a folder
of leaderboards also the differences observed there. An error is any pair of truly equal rows that
is called significant, or any pair that is called significant the wrong way round.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.leaderboard.publish import published_lines
from harness.leaderboard.ranks import FLOOR, significant_pairs
from harness.leaderboard.table import tables

ROWS, REPLICATES = 29, 10
SPREADS = np.geomspace(0.1, 1.0, ROWS)[:, None]
"""Standard deviations of log gaps; on the digits they reach from 0.11 to 0.54."""
LEVEL = 1.0
"""The mean log gap: a geometric mean of 2.7 points."""

Logs = NDArray[np.float64]
Model = Callable[[np.random.Generator], tuple[Logs, Logs]]
"""A generator → log gaps (rows, replicates), and the rows' true means (rows,)."""


def equal_rows(draw: Callable[[np.random.Generator], Logs]) -> Model:
    """Standardised noise of unequal spreads, on a part that all rows of a replicate share."""

    def model(rng: np.random.Generator) -> tuple[Logs, Logs]:
        shared = rng.normal(0, 0.3, REPLICATES)
        return LEVEL + shared + SPREADS * draw(rng), np.zeros(ROWS)

    return model


def normal(rng: np.random.Generator) -> Logs:
    """Log gaps as the test supposes them."""
    return rng.normal(size=(ROWS, REPLICATES))


def heavy_tails(rng: np.random.Generator) -> Logs:
    """Student's t with four degrees of freedom, of variance 1."""
    return rng.standard_t(4, (ROWS, REPLICATES)) / np.sqrt(2)


def outliers(rng: np.random.Generator) -> Logs:
    """One replicate in ten has four times the spread."""
    wide = np.where(rng.random((ROWS, REPLICATES)) < 0.1, 4.0, 1.0)
    return wide * rng.normal(size=(ROWS, REPLICATES)) / np.sqrt(2.5)


def skewed(rng: np.random.Generator) -> Logs:
    """A gamma distribution of skewness 1: some replicates are far worse than the rest."""
    return (rng.gamma(4, size=(ROWS, REPLICATES)) - 4) / 2


def families(rng: np.random.Generator) -> Logs:
    """Seven families of variants, correlated by 0.8 within."""
    own, family = rng.normal(size=(ROWS, REPLICATES)), rng.normal(size=(7, REPLICATES))
    return np.sqrt(0.2) * own + np.sqrt(0.8) * family[np.arange(ROWS) % 7]


def halves(rng: np.random.Generator) -> tuple[Logs, Logs]:
    """Two groups of equal rows, far from each other: the true differences must not cost errors."""
    true = np.where(np.arange(ROWS) % 2, 2.0, 0.0)
    logs, _ = equal_rows(normal)(rng)
    return logs + true[:, None], true


def floor(rng: np.random.Generator) -> tuple[Logs, Logs]:
    """Equal rows of one spread whose gaps lie about the floor of 0.01 points."""
    return np.log(FLOOR) + rng.normal(size=(ROWS, REPLICATES)), np.zeros(ROWS)


def observed(residuals: Logs) -> Model:
    """Each replicate's residuals (rows, replicates) of a real table, with a random sign."""

    def model(rng: np.random.Generator) -> tuple[Logs, Logs]:
        signs = rng.choice([-1.0, 1.0], residuals.shape[1])
        return LEVEL + signs * residuals, np.zeros(len(residuals))

    return model


def is_wrong(logs: Logs, true: Logs) -> bool:
    """Whether the test errs anywhere in this table."""
    gaps = {
        str(i): {(at, at): gap for at, gap in enumerate(row)}
        for i, row in enumerate(np.exp(logs).tolist())
    }
    return any(true[int(better)] >= true[int(worse)] for better, worse in significant_pairs(gaps))


def real(folder: Path) -> Iterator[tuple[str, Model]]:
    """A model a table of a folder of leaderboards."""
    for table in tables(published_lines(folder)):
        gaps = [[cells[at] for at in sorted(cells)] for cells in table.gaps.values()]
        logs = np.log(np.maximum(gaps, FLOOR))
        residuals = logs - logs.mean(axis=1, keepdims=True)
        yield f"observed: {table.scenario.name}", observed(residuals)


def main(repeats: int = 1500, folder: str = "") -> None:
    """Prints the share of tables with an error under each model, with its 95 % interval."""
    models: dict[str, Model] = {
        each.__name__.replace("_", " "): equal_rows(each)
        for each in (normal, heavy_tails, outliers, skewed, families)
    }
    models |= {"halves": halves, "floor": floor}
    models |= dict(real(Path(folder))) if folder else {}
    print(f"{ROWS} rows, {REPLICATES} replicates, {repeats} tables a model; errors anywhere:")
    for name, model in models.items():
        rng = np.random.default_rng(0)
        wrong = sum(is_wrong(*model(rng)) for _ in range(repeats))
        low, high = stats.binomtest(wrong, repeats).proportion_ci(0.95, method="wilson")
        print(f"  {name:40} {wrong / repeats:6.1%} [{low:.1%}, {high:.1%}]", flush=True)


if __name__ == "__main__":
    main(*[int(word) for word in sys.argv[1:2]], *sys.argv[2:3])
