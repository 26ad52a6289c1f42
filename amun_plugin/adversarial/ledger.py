"""What is known of every sample so far, on the images' device; in the end it becomes the result.

The last word on each example belongs to the caller's own model. What it refutes is moved on along
its ray until it is wrong, or given up.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from amun_plugin.adversarial.logits import column, is_wrong, norm
from amun_plugin.adversarial.result import Adversarial, Candidates, Samples, Status
from amun_plugin.adversarial.twin import Caller

EXTENSIONS = tuple(1 + 0.002 * 2**k for k in range(9))
"""How far along its ray a refuted example is moved, as shares of its distance."""
HALVINGS = 5
"""How often the last extension is halved on the way back."""


class Ledger:
    """One row per sample."""

    def __init__(self, samples: Samples) -> None:
        n = len(samples)
        device = samples.clean.device
        self.samples = samples
        self.x = samples.clean.clone()
        self.radius = torch.full((n,), torch.nan, device=device)
        self.status = torch.full((n,), Status.NOT_FOUND, dtype=torch.uint8, device=device)
        self.gradients = torch.zeros(n, dtype=torch.int32, device=device)
        self.forwards = torch.zeros(n, dtype=torch.int32, device=device)
        self.clean_label = torch.zeros(n, dtype=torch.int64, device=device)
        self.label = self.clean_label
        self.logits = torch.zeros(n, 0, device=device)
        """``(n, classes)``: of the caller's model for the clean images."""

    def open(self, caller: Caller) -> Tensor:
        """Asks the caller's model about the clean images; gives the rows that need an attack.

        Raises ValueError for a label that the model has no logit for.
        """
        if not len(self.samples):
            return self.clean_label
        self.logits = caller.logits(self.samples.clean)
        self.forwards += 1
        _check_classes(self.samples.labels, self.logits.shape[1])
        self.clean_label = self.logits.argmax(1)
        self.label = self.clean_label.clone()
        self.status[self.clean_label != self.samples.labels] = Status.ALREADY_WRONG
        self.status[~self.logits.isfinite().all(1)] = Status.NON_FINITE
        rows = (self.status == Status.NOT_FOUND).nonzero().flatten()
        if len(rows):
            _warn_of_probabilities(self.logits[rows])
        return rows

    def enter(self, candidates: Candidates) -> None:
        """Writes down what an attack found and spent."""
        device = self.x.device
        rows = candidates.rows.to(device)
        self.status[rows] = candidates.status.to(device)
        self.gradients[rows] += candidates.gradients.to(device)
        self.forwards[rows] += candidates.forwards.to(device)
        hit = candidates.status == Status.FOUND
        found = rows[hit.to(device)]
        self.x[found] = candidates.x[hit].to(device)
        self.radius[found] = candidates.radius[hit].to(device)

    def give_up(self, caller: Caller, rows: Tensor) -> None:
        """Settles rows whose images no gradient reaches: fine if the model is constant.

        Raises ValueError if it is not, because then its gradients are cut off by mistake.
        """
        low, high = self.samples.bounds
        first = rows[:1]
        opposite = caller.logits(low + high - self.samples.clean[first])
        self.forwards[first] += 1
        if not bool((self.logits[rows] == opposite).all()):
            raise ValueError(
                "model must have a gradient path from its images to its logits; got logits that "
                "change with the images but have no gradient. Does it detach, or run under no_grad?"
            )
        self.status[rows] = Status.NO_GRADIENT

    @property
    def ok(self) -> Tensor:
        """``(n,)`` bool: an example was found."""
        return self.status == Status.FOUND

    def judge(self, caller: Caller, rows: Tensor, growth: float) -> Tensor:
        """Has the caller's model judge the examples of these rows; gives the rows it refutes.

        ``growth`` is the ratio of successive balls: an example that had to be moved out of its ball
        belongs to a larger one.
        """
        rows = rows[self.ok[rows]]
        if not len(rows):
            return rows
        samples = self.samples.at(rows)
        verdict = verify(caller, samples, self.x[rows])
        self.forwards[rows] += verdict.forwards
        self.x[rows] = verdict.x
        self.label[rows] = verdict.label
        excess = norm(verdict.x - samples.clean) / self.radius[rows]
        levels = (excess.clamp(min=1).log() / math.log(growth) - 1e-6).ceil().clamp(min=0)
        self.radius[rows] *= growth**levels
        refuted = rows[~verdict.ok]
        self.x[refuted] = self.samples.clean[refuted]
        self.radius[refuted] = torch.nan
        self.label[refuted] = self.clean_label[refuted]
        self.status[refuted] = Status.NOT_FOUND
        return refuted

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


def _check_classes(labels: Tensor, classes: int) -> None:
    largest = int(labels.max())
    if largest >= classes:
        raise ValueError(f"labels must be in [0, {classes}), the model's classes; got {largest}")


def _warn_of_probabilities(logits: Tensor) -> None:
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < 1e-3).all()):
        warnings.warn(
            "the model's outputs look like probabilities (none is negative, and rows sum to 1), "
            "but the attack needs logits: leave out the final softmax",
            UserWarning,
            stacklevel=4,  # the line that calls attack
        )


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the caller's model says of m examples."""

    x: Tensor
    """``(m, *s)``: the examples, some of them moved on."""
    label: Tensor
    """``(m,)`` int64: the model's predictions for them."""
    ok: Tensor
    """``(m,)`` bool: wrong by more than rounding."""
    forwards: Tensor
    """``(m,)`` int32: spent."""


def verify(caller: Caller, samples: Samples, x: Tensor) -> Verdict:
    """Asks about all examples, and moves refuted ones on along their rays until they are wrong."""
    logits = caller.logits(x)
    verdict = Verdict(
        x=x.clone(),
        label=logits.argmax(1),
        ok=is_wrong(logits, samples.labels, caller.rounding),
        forwards=torch.ones_like(samples.labels, dtype=torch.int32),
    )
    refuted = (~verdict.ok).nonzero().flatten()
    if len(refuted):
        rays = _Rays(caller, samples.at(refuted), x[refuted], verdict, refuted)
        for extension in EXTENSIONS:
            rays.ask(rays.wrong.isinf(), torch.full_like(rays.right, extension))
        for _ in range(HALVINGS):
            rays.ask(rays.wrong.isfinite(), (rays.right + rays.wrong) / 2)
    return verdict


class _Rays:
    """The rays from clean images through refuted examples; an example lies at 1 on its ray."""

    def __init__(
        self, caller: Caller, samples: Samples, x: Tensor, verdict: Verdict, rows: Tensor
    ) -> None:
        """``rows`` are those of the verdict that the samples and their examples ``x`` stand in."""
        self._caller = caller
        self._samples = samples
        self._away = x - samples.clean
        self._verdict = verdict
        self._rows = rows
        self.right = torch.ones(len(rows), device=x.device)
        """The farthest share that the model labels correctly; ..."""
        self.wrong = torch.full_like(self.right, torch.inf)
        """... the nearest beyond it on which it errs; inf where none is known."""

    def ask(self, chosen: Tensor, share: Tensor) -> None:
        """Asks about the chosen rays ``(m,)`` bool at these shares ``(m,)``; notes the answers."""
        at = chosen.nonzero().flatten()
        if not len(at):
            return
        away = column(share[at], self._away) * self._away[at]
        points = (self._samples.clean[at] + away).clamp(*self._samples.bounds)
        logits = self._caller.logits(points)
        self._verdict.forwards[self._rows[at]] += 1
        hit = is_wrong(logits, self._samples.labels[at], self._caller.rounding)
        self.wrong[at[hit]] = share[at[hit]]
        self.right[at[~hit]] = share[at[~hit]]
        mended = self._rows[at[hit]]
        self._verdict.x[mended] = points[hit]
        self._verdict.label[mended] = logits.argmax(1)[hit]
        self._verdict.ok[mended] = True
