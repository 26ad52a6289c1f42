"""Continuous batching: slots, each refilled with a waiting row when its own is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from amun_plugin.adversarial.graph import captured

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

    def __len__(self) -> int:
        return len(self.row)

    def at(self, where: Tensor) -> Self:
        """A copy of these slots."""
        return type(self)(*(getattr(self, each.name)[where] for each in fields(self)))

    def put(self, where: Tensor, other: Self) -> None:
        """Overwrites these slots, in place."""
        for each in fields(self):
            getattr(self, each.name)[where] = getattr(other, each.name)

    def joined(self, other: Self) -> Self:
        """These slots and then the others."""
        names = [each.name for each in fields(self)]
        return type(self)(*(torch.cat((getattr(self, n), getattr(other, n))) for n in names))


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
    """The slots of all rows as they are done, some at a time.

    On a CPU every call of the model holds running rows alone. On a GPU the shapes stay constant for
    long, and slots may idle for some steps: until the host looks, and while no row waits.
    """
    slots, waiting = search.fresh(rows[:size]), rows[size:]
    resting = slots.at(rows[:0])
    on_gpu = slots.row.device.type == "cuda"
    step = _stepper(search, slots)
    while len(slots):
        step()
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
            before = slots
            slots, resting = _halved(slots, resting) if on_gpu else _packed(slots, resting)
            step = step if slots is before else _stepper(search, slots)


def _stepper(search: Search[SlotsType], slots: SlotsType) -> Callable[[], None]:
    def step() -> None:
        search.step(slots)

    return captured(step) if slots.row.device.type == "cuda" and len(slots) else step


def _halved(slots: SlotsType, resting: SlotsType) -> tuple[SlotsType, SlotsType]:
    """Half the slots, if that holds all running rows; else the very same."""
    gone = slots.row == GONE
    running = len(slots) - int(gone.sum())
    half = len(slots) // 2
    if running == 0:
        return resting, resting
    return (slots if running > half else slots.at(gone.int().argsort(stable=True)[:half])), resting


def _packed(slots: SlotsType, resting: SlotsType) -> tuple[SlotsType, SlotsType]:
    """The running rows, as many as make a round number, and the others, which rest until later.

    A new shape costs a CPU as much as half a step, for it is then that kernels are chosen.
    """
    slots = slots.at((slots.row != GONE).nonzero().flatten()).joined(resting)
    eighth = max(1, (1 << len(slots).bit_length()) // 16)
    size = len(slots) // eighth * eighth
    order = torch.arange(len(slots), device=slots.row.device)
    return slots.at(order[:size]), slots.at(order[size:])
