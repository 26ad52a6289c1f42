"""The nearest example at a fixed price: ascent on a sphere whose radius follows the boundary.

DDN (https://arxiv.org/abs/1811.09600) with five changes. The first radius is each row's own margin
over its gradient. A step is a share of the radius. The radius changes by ever less. The loss is
taken in units of the clean margin. What remains of the way back to the boundary is located on the
last segment, with forwards alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from amun_plugin.adversarial.logits import (
    Bounds,
    column,
    is_negative,
    loss,
    margin,
    norm,
    replace,
)
from amun_plugin.adversarial.result import Candidates, Samples, Status
from amun_plugin.adversarial.settings import Closest
from amun_plugin.adversarial.twin import Look, Twin

STRIDE = (2.0, 0.1)
"""Length of the first and of the last step, as a share of the radius. Twice the radius turns far
towards the gradient: after 10 steps that was nearer by 1 % than once, on both models tried."""
SHRINK = (0.2, 0.01)
"""By what share the radius shrinks or grows at the first and at the last step."""
SHORTEST = 1e-3
"""The first radius is at least this share of the bounds' range."""

SHARPNESS = (6.0, 24.0)
"""By how much the other classes' logits are multiplied in the loss at the first and after the last
step, for a clean margin of 1: at first all near classes pull, then the nearest alone. Because it is
relative to the clean margin, the result does not depend on how confident the model is."""

NUDGE = 0.003
"""How far beside the expected boundary to look, as a share of its distance: one look on either side
encloses it."""


def attack_closest(
    twin: Twin, method: Closest, samples: Samples, logits: Tensor, rows: Tensor, *, batch: int
) -> Iterator[Candidates]:
    """Attacks these rows, ``batch`` of them at a time, and yields them as they are done.

    ``logits`` ``(n, classes)`` are the answers of the caller's model for the clean images.
    """
    for part in torch.split(rows, batch):
        pursuit = Pursuit(twin, method, samples.at(part), logits[part])
        for k in range(method.steps):
            pursuit.step(k)
        segment = pursuit.segment()
        for k in range(method.refine):
            share = segment.guess(k)
            segment.learn(share, twin.logits(segment.point(share)), pursuit.labels)
        found = segment.wrong.isfinite()
        x = segment.point(segment.wrong * (1 + method.overshoot))
        gradients = torch.full_like(part, method.steps, dtype=torch.int32)
        yield Candidates(
            rows=part,
            x=torch.where(column(found, x), x, segment.clean),
            radius=torch.full_like(segment.wrong, torch.nan),
            status=pursuit.status(found),
            gradients=gradients,
            forwards=gradients + method.refine,
        )


class Pursuit:
    """The gradient steps of one batch of rows, each of which takes the same number.

    Every point is kept as its difference from the clean image: its *offset*.
    """

    def __init__(self, twin: Twin, method: Closest, samples: Samples, logits: Tensor) -> None:
        """``logits`` ``(n, classes)`` are the answers of the caller's model for clean images."""
        self.twin = twin
        self.method = method
        self.bounds = samples.bounds
        self.clean = twin.place(samples.clean)
        self.labels = samples.labels.to(twin.device)
        clean_margin = margin(logits.to(twin.device), self.labels)
        self.scale = 1 / torch.where(clean_margin > 0, clean_margin, 1)
        """``(n,)``: makes the clean margin 1."""
        self.offset = torch.zeros_like(self.clean)
        """``(n, *s)``: of the point reached."""
        zeros = torch.zeros_like(self.scale)
        self.radius = zeros
        """``(n,)``: of the sphere on which that point was placed, before it was clipped."""
        self.nearest_offset = torch.zeros_like(self.clean)
        """``(n, *s)``: of the nearest wrong point so far, ..."""
        self.nearest = torch.full_like(zeros, torch.inf)
        """... ``(n,)`` its distance, and ..."""
        self.nearest_margin = zeros
        """... ``(n,)`` the margin there."""
        self.clean_margin = zeros
        """``(n,)``: by the twin."""
        self.finite = torch.ones_like(zeros, dtype=torch.bool)
        self.flat = torch.zeros_like(zeros, dtype=torch.bool)
        """``(n,)`` bool: there is no gradient at the clean image."""

    def step(self, k: int) -> None:
        """Spends one gradient on every row: looks at its point, then moves it; k counts from 0."""
        progress = k / self.method.steps
        annealing = (1 + math.cos(math.pi * progress)) / 2
        sharpness = self.scale * SHARPNESS[0] * (SHARPNESS[1] / SHARPNESS[0]) ** progress
        look = self.twin.look(self.clean + self.offset, self.labels, sharpness)
        self.finite &= look.finite
        if k == 0:
            self.clean_margin = look.margin
            self.flat = look.slope == 0
            radius = self._first_radius(look, sharpness)
        else:
            distance = norm(self.offset)
            self._keep_if_nearest(look, distance)
            radius = self._next_radius(look, distance, _between(SHRINK, annealing))
        self._move(look, radius, _between(STRIDE, annealing))

    def _keep_if_nearest(self, look: Look, distance: Tensor) -> None:
        nearer = look.finite & look.wrong & (distance < self.nearest)
        replace(self.nearest_offset, nearer, self.offset)
        self.nearest = torch.where(nearer, distance, self.nearest)
        self.nearest_margin = torch.where(nearer, look.margin, self.nearest_margin)

    def _first_radius(self, look: Look, sharpness: Tensor) -> Tensor:
        """``(n,)``: where the boundary would lie if the loss were linear."""
        radius = loss(look.logits, self.labels, sharpness).abs() / look.slope
        low, high = self.bounds
        return radius.clamp(min=SHORTEST * (high - low))

    def _next_radius(self, look: Look, distance: Tensor, shrink: float) -> Tensor:
        """``(n,)``: smaller where the model errs at the point, larger where it is right.

        Where it has never erred, go as far as the margin suggests, but no more than twice as far.
        """
        larger = self.radius * (1 + shrink)
        smaller = torch.minimum(self.radius * (1 - shrink), self.nearest)
        ahead = look.margin.clamp(min=0) / look.slope
        onward = torch.maximum(distance + ahead, larger).minimum(2 * self.radius)
        where_right = torch.where(self.nearest.isinf(), onward, larger)
        return torch.where(look.wrong, smaller, where_right)

    def _move(self, look: Look, radius: Tensor, stride: float) -> None:
        """Goes ``stride`` radii uphill, then straight back onto the sphere, within the bounds."""
        offset = self.offset + column(stride * radius, self.offset) * look.uphill
        offset = offset * column(radius / norm(offset), offset)
        offset = (self.clean + offset).clamp(*self.bounds) - self.clean
        moves = look.finite & (look.slope > 0)
        replace(self.offset, moves, offset)
        self.radius = torch.where(moves, radius, self.radius)

    def segment(self) -> Segment:
        """From each clean image to its nearest wrong point; to the point reached where none is."""
        found = self.nearest.isfinite()
        replace(self.nearest_offset, ~found, self.offset)
        return Segment(
            clean=self.clean,
            offset=self.nearest_offset,
            bounds=self.bounds,
            right=torch.zeros_like(self.nearest),
            right_margin=self.clean_margin,
            wrong=torch.where(found, 1.0, torch.inf),
            wrong_margin=self.nearest_margin,
        )

    def status(self, found: Tensor) -> Tensor:
        """``(n,)`` uint8: the rows' ``Status``, given for which of them an example was found."""
        status = torch.where(self.flat, Status.NO_GRADIENT, Status.NOT_FOUND)
        status = torch.where(self.finite, status, Status.NON_FINITE)
        return torch.where(found, Status.FOUND, status).to(torch.uint8)


@dataclass(eq=False)
class Segment:
    """The ray from each clean image through another point, and where it crosses the boundary.

    A place on it is a share: 0 is the clean image, 1 is the other point.
    """

    clean: Tensor
    """``(n, *s)``."""
    offset: Tensor
    """``(n, *s)``: from the clean image to the other point."""
    bounds: Bounds
    right: Tensor
    """``(n,)``: the largest share that is known to be right, ..."""
    right_margin: Tensor
    """... ``(n,)`` and the margin there."""
    wrong: Tensor
    """``(n,)``: the smallest share that is known to be wrong, inf where there is none, ..."""
    wrong_margin: Tensor
    """... ``(n,)`` and the margin there."""

    def point(self, share: Tensor) -> Tensor:
        """``(n, *s)``: the points at these shares ``(n,)``, within the bounds."""
        return (self.clean + column(share, self.offset) * self.offset).clamp(*self.bounds)

    def guess(self, k: int) -> Tensor:
        """``(n,)``: the shares to look at next, by the secant through both margins.

        An even k looks a little beyond it, an odd k a little before it. Rows that have never been
        wrong go twice as far as before.
        """
        width = self.wrong - self.right
        fall = self.right_margin - self.wrong_margin
        secant = self.right + width * (self.right_margin / fall)
        nudge = torch.minimum(NUDGE * self.wrong, width / 4)
        share = secant + (nudge if k % 2 == 0 else -nudge)
        share = torch.maximum(share, self.right + 0.05 * width)
        share = torch.minimum(share, self.wrong - 0.05 * width)
        return torch.where(self.wrong.isinf(), 2 * self.right.clamp(min=0.5), share)

    def learn(self, share: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Narrows the segment by the logits ``(n, classes)`` at these shares."""
        margins = margin(logits, labels)
        wrong = is_negative(margins, logits)
        right = ~wrong & logits.isfinite().all(1)
        self.wrong = torch.where(wrong, share, self.wrong)
        self.wrong_margin = torch.where(wrong, margins, self.wrong_margin)
        self.right = torch.where(right, share, self.right)
        self.right_margin = torch.where(right, margins, self.right_margin)


def _between(ends: tuple[float, float], annealing: float) -> float:
    """The first end at annealing 1, the last at 0."""
    first, last = ends
    return last + (first - last) * annealing
