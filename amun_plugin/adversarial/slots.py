"""Continuous batching: slots, each refilled with a waiting row as soon as its own is done.

On a GPU, advancing the slots is captured once as a CUDA graph and then replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

RUNNING = 255
"""In place of a ``Status``: the slot's row is still being attacked."""
GONE = -1
"""In place of a row: the slot's row has been handed over."""

REPLAYS = 8
"""Replays of the CUDA graph between two looks of the host at what is done."""
WARM_UP = 3
"""Calls before the capture, for libraries that choose their kernels on first use."""


@dataclass(eq=False)
class Slots:
    """The state of s rows that are attacked side by side; every field has one entry per slot."""

    row: Tensor
    """``(s,)`` int64: the row in the slot, or ``GONE``."""
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
        """These slots, followed by the others."""
        names = [each.name for each in fields(self)]
        return type(self)(*(torch.cat((getattr(self, n), getattr(other, n))) for n in names))


SlotsType = TypeVar("SlotsType", bound=Slots)


class Attack(Protocol[SlotsType]):
    """An attack that advances all of its slots by one gradient at a time."""

    def fresh(self, rows: Tensor) -> SlotsType:
        """Slots in which the attack on these rows begins."""

    def advance(self, slots: SlotsType) -> None:
        """Spends one gradient on every slot, in place and without a shape that depends on the data.

        Slots that are not running stay as they are.
        """


def run(attack: Attack[SlotsType], rows: Tensor, size: int) -> Iterator[SlotsType]:
    """Yields the slots of all rows as they finish, some at a time; ``size`` slots at most are used.

    On a CPU every call of the model holds only running rows. On a GPU the shapes stay constant for
    long stretches, and slots may idle: until the host looks, and once no row is waiting.
    """
    slots = attack.fresh(rows[:size])
    waiting = rows[size:]
    resting = slots.at(rows[:0])
    on_gpu = slots.row.device.type == "cuda"
    advance = _advancing(attack, slots)
    while len(slots):
        advance()
        done = slots.status != RUNNING
        free = done.nonzero().flatten()
        if not len(free):
            continue
        yield slots.at((done & (slots.row != GONE)).nonzero().flatten())
        slots.row[free] = GONE
        refills = waiting[: len(free)]
        waiting = waiting[len(refills) :]
        if len(refills):
            slots.put(free[: len(refills)], attack.fresh(refills))
        if len(refills) == len(free):
            continue
        before = slots
        if on_gpu:
            slots = _halved(slots)
        else:
            slots, resting = _packed(slots, resting)
        if slots is not before:
            advance = _advancing(attack, slots)


def _advancing(attack: Attack[SlotsType], slots: SlotsType) -> Callable[[], None]:
    def advance() -> None:
        attack.advance(slots)

    return _captured(advance) if slots.row.device.type == "cuda" and len(slots) else advance


def _halved(slots: SlotsType) -> SlotsType:
    """Half of the slots if they hold all running rows, none if no row runs; else the very same."""
    gone = slots.row == GONE
    running = len(slots) - int(gone.sum())
    half = len(slots) // 2 if running else 0
    return slots if running > half else slots.at(gone.int().argsort(stable=True)[:half])


def _packed(slots: SlotsType, resting: SlotsType) -> tuple[SlotsType, SlotsType]:
    """As many running rows as make a round number; the others rest until later.

    A new shape costs a CPU as much as half a gradient, because it then chooses its kernels again.
    """
    slots = slots.at((slots.row != GONE).nonzero().flatten()).joined(resting)
    eighth = max(1, (1 << len(slots).bit_length()) // 16)
    size = len(slots) // eighth * eighth
    order = torch.arange(len(slots), device=slots.row.device)
    return slots.at(order[:size]), slots.at(order[size:])


def _captured(advance: Callable[[], None]) -> Callable[[], None]:
    """``REPLAYS`` calls of ``advance``, which works in place on tensors that stay where they are.

    The first ``WARM_UP`` calls run as they are; then one is captured, and replayed from then on.
    Nothing is captured while torch functions are being watched, to count their work for example:
    replays would go unseen.
    """
    watched = torch._C._len_torch_function_stack() > 0
    graph = torch.cuda.CUDAGraph()
    is_captured = False

    def plainly() -> None:
        for _ in range(REPLAYS):
            advance()

    def replaying() -> None:
        nonlocal is_captured
        if not is_captured:
            _warm_up(advance)
            with torch.cuda.graph(graph):
                advance()
            is_captured = True
        for _ in range(REPLAYS):
            graph.replay()

    return plainly if watched else replaying


def _warm_up(advance: Callable[[], None]) -> None:
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            advance()
    torch.cuda.current_stream().wait_stream(side)
