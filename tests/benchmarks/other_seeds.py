"""Compares the tables of two folders of records: does any significant pair of methods reverse?

python tests/benchmarks/other_seeds.py leaderboards OTHER
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean

from harness.leaderboard.publish import published_lines
from harness.leaderboard.ranks import significant_pairs
from harness.leaderboard.table import Table, tables


def verdict(first: Table, second: Table) -> str:
    """What became of the pairs of methods that both tables have and the first tells apart."""
    shared = first.gaps.keys() & second.gaps.keys()
    here, there = (
        significant_pairs({label: table.gaps[label] for label in sorted(shared)})
        for table in (first, second)
    )
    means = {label: fmean(second.gaps[label].values()) for label in shared}
    otherwise = sum(means[better] > means[worse] for better, worse in here)
    reversed_ = sorted((better, worse) for better, worse in here if (worse, better) in there)
    name, sizes = first.scenario.name, f"{_replicates(first)} and {_replicates(second)}"
    lines = [
        f"{name}: {len(shared)} methods, {sizes} replicates",
        f"  significant pairs: {len(here)} and {len(there)}, {len(here & there)} in both",
        f"  significant here, the other way round there: {otherwise}",
        f"  the same, significantly: {len(reversed_)}",
        *(f"    {better} before {worse}" for better, worse in reversed_),
    ]
    return "\n".join(lines)


def _replicates(table: Table) -> int:
    return max(len(gaps) for gaps in table.gaps.values())


def main(first: str, second: str) -> None:
    """Prints the verdict on every scenario that both folders have."""
    one, two = (
        {table.scenario.name: table for table in tables(published_lines(Path(folder)))}
        for folder in (first, second)
    )
    for name in sorted(one.keys() & two.keys()):
        print(verdict(one[name], two[name]))


if __name__ == "__main__":
    main(*sys.argv[1:])
