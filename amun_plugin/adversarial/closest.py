"""The nearest example at a fixed budget: ascent on a sphere whose radius follows the boundary.

DDN (https://arxiv.org/abs/1811.09600) with five changes: the first radius is each row's own margin
over its gradient, a step is a share of the radius, the radius changes less and less, the loss is
taken in units of the clean margin, and what is left of the way back to the boundary is searched
along the last segment, with forwards alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from amun_plugin.adversarial.logits import is_negative, loss, margin
from amun_plugin.adversarial.result import Status
from amun_plugin.adversarial.samples import Samples
from amun_plugin.adversarial.settings import Closest
from amun_plugin.adversarial.twin import Twin
from amun_plugin.adversarial.vectors import column, norm, replace

NUDGE = 0.003
"""How far beside the expected boundary to look, as a share of its distance: once on either side
and the boundary is known to lie between."""

STRIDE = (2.0, 0.1)
"""Length of the first and of the last step, as a share of the radius: twice the radius turns far
towards the gradient, which was nearer by 1 % after 10 steps than once on both models tried."""
SHORTEST = 1e-3
"""The first radius is at least this, as a share of the bounds' range."""
SHRINK = (0.2, 0.01)
"""How much the radius shrinks or grows at the first and at the last step."""

SHARPNESS = (6.0, 24.0)
"""By how much the other classes' logits are multiplied in the loss at the first and after the last
step, for a clean margin of 1: first all near classes pull, then the nearest. So the result does not
depend on how confident the model is."""


class Nearest:
    """The state of one batch of rows, all of which take the same number of gradients."""

    def __init__(self, twin: Twin, method: Closest, samples: Samples, logits: Tensor) -> None:
        """``logits`` ``(n, classes)`` are what the caller's model says of the clean images."""
        self.twin, self.method, self.bounds = twin, method, samples.bounds
        self.clean, self.labels = twin.place(samples.clean), samples.labels.to(twin.device)
        n, device, clean = len(samples), twin.device, self.clean
        start = margin(logits.to(device), self.labels)
        self.scale = 1 / torch.where(start > 0, start, 1)
        self.away = torch.zeros_like(clean)
        self.best = torch.zeros_like(clean)
        """Of the nearest wrong point so far, seen from the clean image."""
        self.nearest = torch.full((n,), torch.inf, device=device)
        """Its distance."""
        self.radius = torch.zeros(n, device=device)
        self.finite = torch.ones(n, dtype=torch.bool, device=device)
        self.flat = torch.zeros(n, dtype=torch.bool, device=device)
        self.right = torch.zeros(n, device=device)
        """The largest share of the segment to ``best`` that is known to be right, ..."""
        self.wrong = torch.full((n,), torch.inf, device=device)
        """... the smallest that is known to be wrong, and the margins there."""
        self.right_margin = torch.zeros(n, device=device)
        self.wrong_margin = torch.zeros(n, device=device)

    def run(self) -> None:
        """All steps, and the search of the boundary."""
        for k in range(self.method.steps):
            self._step(k)
        found = self.nearest.isfinite()
        replace(self.best, ~found, self.away)
        self.wrong = torch.where(found, 1.0, torch.inf)
        for k in range(self.method.refine):
            self._refine(k)

    @property
    def x(self) -> Tensor:
        """The examples, beyond the boundary by the overshoot; the clean image where none is."""
        share = self.wrong * (1 + self.method.overshoot)
        found = column(self.wrong.isfinite(), self.clean)
        away = column(share, self.best) * self.best
        return torch.where(found, (self.clean + away).clamp(*self.bounds), self.clean)

    @property
    def status(self) -> Tensor:
        """``(n,)`` uint8."""
        status = torch.where(self.flat, Status.NO_GRADIENT, Status.NOT_FOUND)
        status = torch.where(self.finite, status, Status.NON_FINITE)
        return torch.where(self.wrong.isfinite(), Status.FOUND, status).to(torch.uint8)

    def _step(self, k: int) -> None:
        """One gradient for every row: keeps the point if it is wrong and nearest, then moves."""
        done = k / self.method.steps
        sharpness = self.scale * SHARPNESS[0] * (SHARPNESS[1] / SHARPNESS[0]) ** done
        look = self.twin.look(self.clean + self.away, self.labels, sharpness)
        distance = norm(self.away)
        ahead = look.margin
        if k > 0:
            better = look.finite & look.wrong & (distance < self.nearest)
            replace(self.best, better, self.away)
            self.nearest = torch.where(better, distance, self.nearest)
            self.wrong_margin = torch.where(better, ahead, self.wrong_margin)
        else:
            self.right_margin = ahead
            self.flat = look.slope == 0
        self.finite &= look.finite
        turn = (1 + math.cos(math.pi * done)) / 2
        shrink, stride = _between(SHRINK, turn), _between(STRIDE, turn)
        ahead = ahead.clamp(min=0) / look.slope
        if k == 0:
            radius = loss(look.logits, self.labels, sharpness).abs() / look.slope
            radius = radius.clamp(min=SHORTEST * (self.bounds[1] - self.bounds[0]))
        else:
            larger = self.radius * (1 + shrink)
            unseen = torch.maximum(distance + ahead, larger).minimum(2 * self.radius)
            smaller = torch.minimum(self.radius * (1 - shrink), self.nearest)
            radius = torch.where(self.nearest.isinf(), unseen, larger)
            radius = torch.where(look.wrong, smaller, radius)
        away = self.away + column(stride * radius, self.away) * look.uphill
        away = away * column(radius / norm(away), away)
        away = (self.clean + away).clamp(*self.bounds) - self.clean
        moves = look.finite & (look.slope > 0)
        replace(self.away, moves, away)
        self.radius = torch.where(moves, radius, self.radius)

    def _refine(self, k: int) -> None:
        """One forward for every row, where its boundary is expected on the segment to ``best``.

        Rows that were never wrong go twice as far along their ray.
        """
        share = self._guess(k)
        point = self.clean + column(share, self.best) * self.best
        logits = self.twin.logits(point.clamp(*self.bounds))
        ahead = margin(logits, self.labels)
        wrong = is_negative(ahead, logits)
        right = ~wrong & logits.isfinite().all(1)
        self.wrong = torch.where(wrong, share, self.wrong)
        self.wrong_margin = torch.where(wrong, ahead, self.wrong_margin)
        self.right = torch.where(right, share, self.right)
        self.right_margin = torch.where(right, ahead, self.right_margin)

    def _guess(self, k: int) -> Tensor:
        width = self.wrong - self.right
        fall = self.right_margin - self.wrong_margin
        secant = self.right + width * (self.right_margin / fall)
        nudge = torch.minimum(NUDGE * self.wrong, width / 4)
        share = secant + (nudge if k % 2 == 0 else -nudge)
        share = torch.maximum(share, self.right + 0.05 * width)
        share = torch.minimum(share, self.wrong - 0.05 * width)
        return torch.where(self.wrong.isinf(), 2 * self.right.clamp(min=0.5), share)


def _between(ends: tuple[float, float], turn: float) -> float:
    first, last = ends
    return last + (first - last) * turn
