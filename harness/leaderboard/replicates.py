"""How a page words its replicates: their seeds, and the models and forget sets they cross. Pure."""

from __future__ import annotations

from collections.abc import Collection

from harness.leaderboard.cells import counted, ranges
from harness.leaderboard.clusters import are_crossed, counts
from harness.leaderboard.grouping import ReplicateKey
from harness.leaderboard.ranks import FEWEST_FOR_SETS


def seeds_of(replicates: Collection[ReplicateKey]) -> str:
    """As in ``seeds 0–7``; of crossed replicates with the seeds of the forget sets."""
    own = f"seeds {ranges(sorted({seed for seed, _ in replicates}))}"
    if not are_crossed(replicates):
        return own
    return f"{own}; forget seeds {ranges(sorted({seed for _, seed in replicates}))}"


def number_of(replicates: Collection[ReplicateKey]) -> str:
    """As in ``8``, or ``9 (3 × 3)`` where replicates share models and forget sets."""
    models, forget_sets = counts(replicates)
    return f"{len(replicates)}" + f" ({models} × {forget_sets})" * are_crossed(replicates)


def crossing(replicates: Collection[ReplicateKey]) -> str:
    """The paragraph on crossed replicates and their intervals."""
    models, forget_sets = counts(replicates)
    n, pairs = len(replicates), models * forget_sets
    return (
        f"**Crossed replicates**: the page's {n} replicates are "
        f"{'' if n == pairs else f'{n} of the {pairs} pairs of '}{_parts(replicates)}. Those that "
        "share a model or a forget set are not independent. The 95 % intervals allow for this: "
        "they follow from how much the models, and the forget sets, differ from each other."
    )


def too_few(replicates: Collection[ReplicateKey]) -> str:
    """Why these replicates are not tested."""
    if not are_crossed(replicates):
        return f"{len(replicates)} replicates; a test takes {FEWEST_FOR_SETS}"
    return (
        f"{len(replicates)} replicates of {_parts(replicates)}; a test takes {FEWEST_FOR_SETS} of "
        f"each, since replicates that share one are not independent"
    )


def _parts(replicates: Collection[ReplicateKey]) -> str:
    """As in ``3 original models × 3 forget sets``."""
    models, forget_sets = counts(replicates)
    return f"{counted(models, 'original model')} × {counted(forget_sets, 'forget set')}"
