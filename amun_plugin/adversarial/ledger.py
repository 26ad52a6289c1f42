"""What is known of each row so far, where the images lie; it becomes the result."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from amun_plugin.adversarial.caller import Caller
from amun_plugin.adversarial.checks import check_classes, warn_of_probabilities
from amun_plugin.adversarial.result import Adversarial, Status
from amun_plugin.adversarial.samples import Samples
from amun_plugin.adversarial.vectors import norm
from amun_plugin.adversarial.verification import verify


@dataclass(frozen=True, eq=False)
class Entry:
    """What a search found of m rows."""

    rows: Tensor
    """``(m,)`` int64."""
    x: Tensor
    """``(m, *s)``: the examples; anything where there is none."""
    radius: Tensor
    """``(m,)``: of their balls."""
    status: Tensor
    """``(m,)`` uint8."""
    gradients: Tensor
    """``(m,)`` int32: spent."""
    forwards: Tensor
    """``(m,)`` int32: spent, those of the gradients included."""


class Ledger:
    """One row a sample."""

    def __init__(self, samples: Samples) -> None:
        n, device = len(samples), samples.clean.device
        self.samples = samples
        self.x = samples.clean.clone()
        self.radius = torch.full((n,), torch.nan, device=device)
        self.status = torch.full((n,), Status.NOT_FOUND, dtype=torch.uint8, device=device)
        self.gradients = torch.zeros(n, dtype=torch.int32, device=device)
        self.forwards = torch.zeros(n, dtype=torch.int32, device=device)
        self.clean_label = torch.zeros(n, dtype=torch.int64, device=device)
        self.label = self.clean_label
        self.logits = torch.zeros(n, 0, device=device)

    def open(self, caller: Caller) -> Tensor:
        """The rows that need a search, by what the caller's model says of the clean images.

        Raises ValueError for a label that the model has no logit for.
        """
        if not len(self.samples):
            return self.clean_label
        self.logits = caller.logits(self.samples.clean)
        self.forwards += 1
        check_classes(self.samples.labels, self.logits.shape[1])
        self.clean_label = self.logits.argmax(1)
        self.label = self.clean_label.clone()
        self.status[self.clean_label != self.samples.labels] = Status.ALREADY_WRONG
        self.status[~self.logits.isfinite().all(1)] = Status.NON_FINITE
        rows = (self.status == Status.NOT_FOUND).nonzero().flatten()
        if len(rows):
            warn_of_probabilities(self.logits[rows])
        return rows

    def enter(self, entry: Entry) -> None:
        """Writes down what was found."""
        device = self.x.device
        rows = entry.rows.to(device)
        self.status[rows] = entry.status.to(device)
        self.gradients[rows] += entry.gradients.to(device)
        self.forwards[rows] += entry.forwards.to(device)
        hit = entry.status == Status.FOUND
        found = rows[hit.to(device)]
        self.x[found] = entry.x[hit].to(device)
        self.radius[found] = entry.radius[hit].to(device)

    def give_up(self, caller: Caller, rows: Tensor) -> None:
        """No gradient reaches the images: right if the model is constant, else a mistake.

        Raises ValueError for the mistake.
        """
        low, high = self.samples.bounds
        first = rows[:1]
        opposite = caller.logits(low + high - self.samples.clean[first])
        self.forwards[first] += 1
        if not bool((self.logits[rows] == opposite).all()):
            raise ValueError(
                "model must have a gradient path from its images to its logits; got logits that "
                "change with the images and have none. Does it detach, or run under no_grad?"
            )
        self.status[rows] = Status.NO_GRADIENT

    @property
    def ok(self) -> Tensor:
        """``(n,)`` bool: an example was found."""
        return self.status == Status.FOUND

    def judge(self, caller: Caller, rows: Tensor, growth: float) -> Tensor:
        """Lets the caller's model judge what was found of these rows; gives those that it refutes.

        ``growth`` is that of the balls: what had to be moved out of one belongs to a later one.
        """
        rows = rows[self.ok[rows]]
        if not len(rows):
            return rows
        samples = self.samples.at(rows)
        verdict = verify(caller, samples, self.x[rows])
        self.forwards[rows] += verdict.forwards
        self.x[rows], self.label[rows] = verdict.x, verdict.label
        excess = norm(verdict.x - samples.clean) / self.radius[rows]
        levels = (excess.clamp(min=1).log() / math.log(growth) - 1e-6).ceil().clamp(min=0)
        self.radius[rows] *= growth**levels
        lost = rows[~verdict.ok]
        self.x[lost], self.radius[lost] = self.samples.clean[lost], torch.nan
        self.label[lost] = self.clean_label[lost]
        self.status[lost] = Status.NOT_FOUND
        return lost

    def result(self) -> Adversarial:
        """All rows."""
        away = self.x - self.samples.clean
        return Adversarial(
            x=self.x,
            label=self.label,
            clean_label=self.clean_label,
            distance=norm(away) if away.numel() else torch.zeros_like(self.radius),
            radius=self.radius,
            status=self.status,
            gradients=self.gradients,
            forwards=self.forwards,
        )
