"""Projected gradient ascent in growing balls, warm: each goes on from the last point."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from amun_plugin.adversarial.result import Status
from amun_plugin.adversarial.samples import Samples
from amun_plugin.adversarial.settings import Pgd
from amun_plugin.adversarial.slots import RUNNING, Slots
from amun_plugin.adversarial.twin import Look, Twin
from amun_plugin.adversarial.vectors import column, reach, replace, within


@dataclass(eq=False)
class Balls(Slots):
    """Rows on their way through balls around their clean images."""

    clean: Tensor
    """``(s, *shape)``."""
    label: Tensor
    """``(s,)`` int64: the class not to give."""
    x: Tensor
    """``(s, *shape)``: where the search stands."""
    level: Tensor
    """``(s,)`` int64: the ball's number; 0 has the first radius."""
    last: Tensor
    """``(s,)`` int64: the level whose ball covers all images there are."""
    moves: Tensor
    """``(s,)`` int64: steps made in this ball; 0 only on the clean image."""


class Warm:
    """The trajectory of the published code."""

    def __init__(self, twin: Twin, method: Pgd, samples: Samples) -> None:
        self.twin, self.method, self.samples = twin, method, samples
        low, high = samples.bounds
        farthest = (high - low) * math.sqrt(samples.clean[0].numel())
        levels = max(0, math.ceil(math.log(farthest / method.eps_init, method.growth))) + 1
        radii = [method.eps_init * method.growth**level for level in range(levels + 1)]
        self.radii = torch.tensor(radii, device=twin.device)

    def fresh(self, rows: Tensor) -> Balls:
        """Slots that stand on the clean images of these rows."""
        device = self.twin.device
        clean = self.twin.place(self.samples.clean[rows])
        zeros = torch.zeros(len(rows), dtype=torch.int64, device=device)
        return Balls(
            row=rows.to(device, copy=True),
            status=torch.full_like(zeros, RUNNING, dtype=torch.uint8),
            gradients=torch.zeros_like(zeros, dtype=torch.int32),
            clean=clean,
            label=self.samples.labels[rows].to(device),
            x=clean.clone(),
            level=zeros.clone(),
            last=torch.searchsorted(self.radii, reach(clean, self.samples.bounds)),
            moves=zeros.clone(),
        )

    def step(self, slots: Balls) -> None:
        """Judges the point where each slot stands, and moves on the slots that are not done."""
        running = slots.status == RUNNING
        look = self.twin.look(slots.x, slots.label)
        complete = slots.moves == self.method.steps
        flat = look.slope == 0
        found = is_found(self.method, look, slots.moves)
        ended = complete & ~found
        status = torch.full_like(slots.status, RUNNING)
        status = torch.where(ended & (slots.level == slots.last), Status.NOT_FOUND, status)
        status = torch.where(flat, Status.NO_GRADIENT, status)
        status = torch.where(found, Status.FOUND, status)
        status = torch.where(look.finite, status, Status.NON_FINITE).to(torch.uint8)
        moving = running & (status == RUNNING)
        level = slots.level + ended
        replace(slots.x, moving, self.moved(slots.clean, slots.x, look.uphill, level))
        replace(slots.level, moving, level)
        replace(slots.moves, moving, torch.where(ended, 0, slots.moves) + 1)
        replace(slots.status, running, status)
        slots.gradients += running

    def moved(self, clean: Tensor, x: Tensor, uphill: Tensor, level: Tensor) -> Tensor:
        """One step uphill, within the level's ball and the bounds."""
        radius = self.radii[level.clamp(max=len(self.radii) - 1)]
        farther = x + column(radius * self.method.step, x) * uphill
        return within(clean, farther, radius, self.samples.bounds)

    def outcome(self, slots: Balls) -> tuple[Tensor, Tensor]:
        """The points that were found and the radii of their balls; anything where none was."""
        return slots.x, self.radii[slots.level]


def is_found(method: Pgd, look: Look, moves: Tensor) -> Tensor:
    """``(s,)`` bool: a wrong point that counts.

    The clean image does not: the caller's model said that it is right. Where only the last point
    counts, so does one that no step can leave.
    """
    counts = moves > 0
    if method.stop == "last":
        counts = (moves == method.steps) | (counts & (look.slope == 0))
    return look.finite & look.wrong & counts
