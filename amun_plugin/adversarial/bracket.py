"""Projected gradient ascent in balls, each begun at the clean image, until two adjacent ones part.

The ball of level k holds an example, the one of level k - 1 none: that is Algorithm 1's answer, and
it takes fewer gradients from a good guess than from the first level upwards, because a level that
fails costs all its steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from amun_plugin.adversarial.logits import loss
from amun_plugin.adversarial.pgd import Balls, Warm, is_found
from amun_plugin.adversarial.result import Status
from amun_plugin.adversarial.slots import RUNNING
from amun_plugin.adversarial.twin import Look
from amun_plugin.adversarial.vectors import replace

UNKNOWN = 2**31
"""In place of a level: none has succeeded yet."""


@dataclass(eq=False)
class Bracketed(Balls):
    """Rows between a level that failed and one that succeeded."""

    first: Tensor
    """``(s, *shape)``: the way uphill from the clean image."""
    best: Tensor
    """``(s, *shape)``: the example of the smallest level that succeeded."""
    failed: Tensor
    """``(s,)`` int64: the largest level known to fail; -1 where none is."""
    succeeded: Tensor
    """``(s,)`` int64: the smallest level known to succeed, or ``UNKNOWN``."""


class Origin(Warm):
    """Every ball from the clean image; ``search`` says in which order."""

    def fresh(self, rows: Tensor) -> Bracketed:
        """Slots that stand on the clean images of these rows."""
        balls = super().fresh(rows)
        return Bracketed(
            **vars(balls),
            first=torch.zeros_like(balls.clean),
            best=balls.clean.clone(),
            failed=torch.full_like(balls.level, -1),
            succeeded=torch.full_like(balls.level, UNKNOWN),
        )

    def step(self, slots: Bracketed) -> None:  # type: ignore[override]
        """Judges the point where each slot stands; the slots move on, or to another ball."""
        running = slots.status == RUNNING
        look = self.twin.look(slots.x, slots.label)
        begins = slots.moves == 0
        flat = look.slope == 0
        found = is_found(self.method, look, slots.moves)
        failed = ~begins & ~found & (flat | (slots.moves == self.method.steps))
        low = torch.where(failed, slots.level, slots.failed)
        high = torch.where(found, slots.level, slots.succeeded)
        known = high != UNKNOWN
        status = torch.full_like(slots.status, RUNNING)
        status = torch.where(low == slots.last, Status.NOT_FOUND, status)
        status = torch.where(begins & flat, Status.NO_GRADIENT, status)
        status = torch.where(look.finite, status, Status.NON_FINITE)
        done = (high - low == 1) | ~look.finite
        status = torch.where(known & done, Status.FOUND, status).to(torch.uint8)
        moving = running & (status == RUNNING)
        replace(slots.best, running & found, slots.x)
        replace(slots.first, running & begins, look.uphill)
        level = torch.where(begins, self.guess(look, slots), slots.level)
        level = (level + failed.to(level) - found.to(level)).clamp(min=0)
        restarts = running & (found | failed)
        replace(slots.x, restarts, slots.clean)
        replace(look.uphill, restarts, slots.first)
        replace(slots.x, moving, self.moved(slots.clean, slots.x, look.uphill, level))
        replace(slots.level, moving, level)
        replace(slots.moves, moving, torch.where(found | failed, 0, slots.moves) + 1)
        replace(slots.failed, running, low)
        replace(slots.succeeded, running, high)
        replace(slots.status, running, status)
        slots.gradients += running

    def guess(self, look: Look, slots: Bracketed) -> Tensor:
        """``(s,)`` int64: the first level whose ball would reach a linear boundary."""
        if self.method.search == "ascending":
            return torch.zeros_like(slots.level)
        distance = -loss(look.logits, slots.label) / look.slope
        levels = (distance / self.method.eps_init).log() / math.log(self.method.growth)
        levels = levels.ceil().nan_to_num(0.0).clamp(min=0).minimum(slots.last)
        return levels.to(torch.int64)

    def outcome(self, slots: Balls) -> tuple[Tensor, Tensor]:
        """The points that were found and the radii of their balls; anything where none was."""
        assert isinstance(slots, Bracketed)
        return slots.best, self.radii[slots.succeeded.clamp(max=len(self.radii) - 1)]
