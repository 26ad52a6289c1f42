"""Continuous batching: slots, each refilled with a waiting row when its own is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

RUNNING = 255
"""In place of a ``Status``: the slot's row is still searched."""
GONE = -1
"""In place of a row: the slot's row was handed over."""


@dataclass(eq=False)
class Slots:
    """The state of s rows that are searched side by side; each field has one entry a slot."""

    row: Tensor
    """``(s,)`` int64: which of all rows the slot holds, or ``GONE``."""
    status: Tensor
    """``(s,)`` uint8: a ``Status``, or ``RUNNING``."""
    gradients: Tensor
    """``(s,)`` int32: spent on the row so far."""

    def at(self, where: Tensor) -> Self:
        """A copy of these slots."""
        return type(self)(*(getattr(self, each.name)[where] for each in fields(self)))

    def put(self, where: Tensor, other: Self) -> None:
        """Overwrites these slots, in place."""
        for each in fields(self):
            getattr(self, each.name)[where] = getattr(other, each.name)


SlotsType = TypeVar("SlotsType", bound=Slots)


class Search(Protocol[SlotsType]):
    """A search that advances all its slots by one gradient at a time."""

    def fresh(self, rows: Tensor) -> SlotsType:
        """Slots in which these rows begin."""

    def step(self, slots: SlotsType) -> None:
        """One gradient for every slot, in place and without a shape that depends on the data.

        Slots that are not running stay as they are.
        """


def run(search: Search[SlotsType], rows: Tensor, size: int) -> Iterator[SlotsType]:
    """The slots of all rows as they are done, some at a time."""
    slots = search.fresh(rows[:size])
    waiting = rows[size:]
    while True:
        search.step(slots)
        done = slots.status != RUNNING
        idle = done.nonzero().flatten()
        if not len(idle):
            continue
        yield slots.at((done & (slots.row != GONE)).nonzero().flatten())
        slots.row[idle] = GONE
        incoming, waiting = waiting[: len(idle)], waiting[len(idle) :]
        if len(incoming):
            slots.put(idle[: len(incoming)], search.fresh(incoming))
        if len(incoming) < len(idle):
            slots = slots.at((slots.row != GONE).nonzero().flatten())
        if not len(slots.row):
            return


def replaced(target: Tensor, where: Tensor, source: Tensor) -> None:
    """Writes the source into the target's rows that are chosen by ``(s,)``, in place."""
    chosen = where.view(-1, *[1] * (target.ndim - 1))
    target.copy_(torch.where(chosen, source, target))
