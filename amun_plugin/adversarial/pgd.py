"""Projected gradient ascent in growing balls around the clean image (``Pgd``).

Algorithm 1 of https://arxiv.org/abs/2503.00917: at most ``steps`` steps in a ball, each a share of
its radius; a ball without an example is followed by one ``growth`` times as large. Balls are
numbered by level; level 0 has the radius ``eps_init``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from amun_plugin.adversarial.logits import column, loss, reach, replace, within
from amun_plugin.adversarial.result import Candidates, Samples, Status
from amun_plugin.adversarial.settings import Pgd
from amun_plugin.adversarial.slots import RUNNING, Slots, run
from amun_plugin.adversarial.twin import Look, Twin

UNKNOWN = 2**31
"""In place of a level: no ball has been seen to hold an example."""


def attack_by_pgd(
    twin: Twin, method: Pgd, samples: Samples, rows: Tensor, *, batch: int
) -> Iterator[Candidates]:
    """Attacks these rows, ``batch`` of them at a time, and yields them as they are done."""
    attack: Warm | Origin = (Warm if method.restart == "warm" else Origin)(twin, method, samples)
    yield from attack.candidates(rows, batch)


@dataclass(eq=False)
class Balls(Slots):
    """Rows on their way through balls around their clean images."""

    clean: Tensor
    """``(s, *shape)``."""
    label: Tensor
    """``(s,)`` int64: the class that the model shall no longer predict."""
    x: Tensor
    """``(s, *shape)``: the point reached."""
    level: Tensor
    """``(s,)`` int64: of the current ball."""
    last: Tensor
    """``(s,)`` int64: the level whose ball covers everything within the bounds."""
    steps: Tensor
    """``(s,)`` int64: taken in the current ball; 0 only on the clean image, before the first."""


@dataclass(eq=False)
class Bracketed(Balls):
    """Rows between a ball that holds no example and a larger one that does."""

    first: Tensor
    """``(s, *shape)``: uphill from the clean image, where every ball starts."""
    best: Tensor
    """``(s, *shape)``: the example in the smallest ball that holds one."""
    failed: Tensor
    """``(s,)`` int64: the largest level seen to hold no example; -1 where there is none."""
    succeeded: Tensor
    """``(s,)`` int64: the smallest level seen to hold one, or ``UNKNOWN``."""


class Ascent:
    """What both kinds of restart share: the radii, the start, and the step."""

    def __init__(self, twin: Twin, method: Pgd, samples: Samples) -> None:
        self.twin = twin
        self.method = method
        self.samples = samples
        low, high = samples.bounds
        farthest = (high - low) * math.sqrt(samples.clean[0].numel())
        levels = max(0, math.ceil(math.log(farthest / method.eps_init, method.growth))) + 1
        radii = [method.eps_init * method.growth**level for level in range(levels + 1)]
        self.radii = torch.tensor(radii, device=twin.device)

    def start(self, rows: Tensor) -> Balls:
        """Slots at the clean images of these rows, in the first ball."""
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
            steps=zeros.clone(),
        )

    def is_found(self, look: Look, steps: Tensor) -> Tensor:
        """``(s,)`` bool: the point after this many steps is an example that ends its ball.

        The clean image is none: the caller's model labelled it correctly. With ``stop="last"`` only
        the ball's last point counts, or one whose zero gradient no further step can leave.
        """
        counts = steps > 0
        if self.method.stop == "last":
            counts = (steps == self.method.steps) | (counts & (look.slope == 0))
        return look.finite & look.wrong & counts

    def stepped(self, clean: Tensor, x: Tensor, uphill: Tensor, level: Tensor) -> Tensor:
        """The points one step uphill of ``x``, within the balls of these levels and the bounds."""
        radius = self.radius_of(level)
        farther = x + column(radius * self.method.step, x) * uphill
        return within(clean, farther, radius, self.samples.bounds)

    def radius_of(self, level: Tensor) -> Tensor:
        """``(s,)``: the balls' radii; that of the largest ball where a level is beyond it."""
        return self.radii[level.clamp(max=len(self.radii) - 1)]


class Warm(Ascent):
    """Each ball continues from the last point of the ball before: the authors' released code."""

    def fresh(self, rows: Tensor) -> Balls:
        """Slots at the clean images of these rows."""
        return self.start(rows)

    def advance(self, slots: Balls) -> None:
        """Looks at each slot's point, then ends the attack there or takes one step from it."""
        look = self.twin.look(slots.x, slots.label)
        found = self.is_found(look, slots.steps)
        failed = ~found & (slots.steps == self.method.steps)
        status = first_that_holds(
            (Status.NON_FINITE, ~look.finite),
            (Status.FOUND, found),
            (Status.NO_GRADIENT, look.slope == 0),
            (Status.NOT_FOUND, failed & (slots.level == slots.last)),
        )
        running = slots.status == RUNNING
        moving = running & (status == RUNNING)

        level = slots.level + failed
        steps = torch.where(failed, 0, slots.steps)
        replace(slots.x, moving, self.stepped(slots.clean, slots.x, look.uphill, level))
        replace(slots.level, moving, level)
        replace(slots.steps, moving, steps + 1)
        replace(slots.status, running, status)
        slots.gradients += running

    def candidates(self, rows: Tensor, batch: int) -> Iterator[Candidates]:
        """Attacks these rows in this many slots."""
        for slots in run(self, rows, batch):
            radius = self.radius_of(slots.level)
            yield Candidates(
                slots.row, slots.x, radius, slots.status, slots.gradients, slots.gradients
            )


class Origin(Ascent):
    """Each ball starts at the clean image: the algorithm as printed.

    Its answer is the ball of a level that holds an example while that of the level below holds
    none. No ball depends on another, so they need not be tried from the first one upwards. A ball
    without an example costs all of its steps, so a good guess saves most of the gradients: from it,
    go down after each success and up after each failure, until two adjacent levels differ.
    """

    def fresh(self, rows: Tensor) -> Bracketed:
        """Slots at the clean images of these rows, with nothing known of any ball."""
        balls = self.start(rows)
        return Bracketed(
            **vars(balls),
            first=torch.zeros_like(balls.clean),
            best=balls.clean.clone(),
            failed=torch.full_like(balls.level, -1),
            succeeded=torch.full_like(balls.level, UNKNOWN),
        )

    def advance(self, slots: Bracketed) -> None:
        """Looks at each slot's point, then ends the attack or steps on, in this ball or another."""
        look = self.twin.look(slots.x, slots.label)
        begins = slots.steps == 0
        stuck = look.slope == 0
        found = self.is_found(look, slots.steps)
        failed = ~begins & ~found & (stuck | (slots.steps == self.method.steps))
        largest_failed = torch.where(failed, slots.level, slots.failed)
        smallest_succeeded = torch.where(found, slots.level, slots.succeeded)

        has_example = smallest_succeeded != UNKNOWN
        adjacent = smallest_succeeded - largest_failed == 1
        status = first_that_holds(
            (Status.FOUND, has_example & (adjacent | ~look.finite)),
            (Status.NON_FINITE, ~look.finite),
            (Status.NO_GRADIENT, begins & stuck),
            (Status.NOT_FOUND, largest_failed == slots.last),
        )
        running = slots.status == RUNNING
        moving = running & (status == RUNNING)
        replace(slots.best, running & found, slots.x)
        replace(slots.first, running & begins, look.uphill)
        replace(slots.failed, running, largest_failed)
        replace(slots.succeeded, running, smallest_succeeded)

        level = torch.where(begins, self.guess(look, slots), slots.level)
        level = (level + failed.to(level) - found.to(level)).clamp(min=0)
        self._move(slots, look, level, ball_ends=found | failed, moving=moving)
        replace(slots.status, running, status)
        slots.gradients += running

    def _move(
        self, slots: Bracketed, look: Look, level: Tensor, *, ball_ends: Tensor, moving: Tensor
    ) -> None:
        """Takes one step in the ball of this level; the first where the ball before has ended.

        The gradient at the clean image is known, so that the first step of a ball costs none.
        """
        restarts = moving & ball_ends
        replace(slots.x, restarts, slots.clean)
        replace(look.uphill, restarts, slots.first)
        steps = torch.where(ball_ends, 0, slots.steps)
        replace(slots.x, moving, self.stepped(slots.clean, slots.x, look.uphill, level))
        replace(slots.level, moving, level)
        replace(slots.steps, moving, steps + 1)

    def guess(self, look: Look, slots: Bracketed) -> Tensor:
        """``(s,)`` int64: the level whose ball would just reach the boundary, were the loss linear.

        ``look`` is at the clean image. With ``order="ascending"`` the guess is the first level.
        """
        if self.method.order == "ascending":
            return torch.zeros_like(slots.level)
        distance = -loss(look.logits, slots.label) / look.slope
        levels = (distance / self.method.eps_init).log() / math.log(self.method.growth)
        levels = levels.ceil().nan_to_num(0.0).clamp(min=0).minimum(slots.last)
        return levels.to(torch.int64)

    def candidates(self, rows: Tensor, batch: int) -> Iterator[Candidates]:
        """Attacks these rows in this many slots."""
        for slots in run(self, rows, batch):
            radius = self.radius_of(slots.succeeded)
            yield Candidates(
                slots.row, slots.best, radius, slots.status, slots.gradients, slots.gradients
            )


def first_that_holds(*cases: tuple[Status, Tensor]) -> Tensor:
    """``(s,)`` uint8: the status of the first case that holds, ``RUNNING`` where none does."""
    status = torch.full_like(cases[0][1], RUNNING, dtype=torch.uint8)
    for value, holds in reversed(cases):
        status = status.masked_fill(holds, value)
    return status
