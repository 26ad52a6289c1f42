"""How many reference models a pool has: a number, or one of three names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.errors import UserError, unknown
from harness.specs.checks import Whole

SIZES = {"smoke": 4, "standard": 16, "full": 64}
"""The sizes that have a name."""

FEWEST = 4


@dataclass(frozen=True)
class PoolSize:
    """An even number of at least 4, or 0 for no pool."""

    def __str__(self) -> str:
        return f"0, or an even number of at least {FEWEST}"

    def take(self, value: Any) -> int:
        """The value as an int."""
        size = Whole(0).take(value)
        if size and (size < FEWEST or size % 2):
            raise ValueError
        return size


def pool_size(text: str) -> int:
    """The size that a word of a command line stands for; raises UserError if there is none."""
    if text in SIZES:
        return SIZES[text]
    if not text.isdecimal():
        raise unknown("pool size", text, (*SIZES, f"an even number from {FEWEST}"))
    size = int(text)
    if size < FEWEST or size % 2:
        # an even number gives every sample exactly half of the models
        nearest = max(FEWEST, size + size % 2)
        raise UserError(
            f"a pool has an even number of at least {FEWEST} reference models, so that each sample "
            f"is in the training sets of exactly half; got {size}; the nearest is {nearest}"
        )
    return size


def ensemble_size(pool: int) -> int:
    """The number of models in each ensemble beside a pool of this size: half as many."""
    return pool // 2
