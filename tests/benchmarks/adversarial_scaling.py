"""How time grows with the number of samples, and how near it comes to the model's own speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from adversarial_measure import clock
from adversarial_models import Subject
from adversarial_rivals import Found, Rival
from torch import Tensor, nn

from amun_plugin import Closest, attack

SECONDS_A_CELL = 60.0
"""No further round of a cell begins after this."""
SECONDS_AT_MOST = 400.0
"""A cell that would take longer, to judge by the smaller n before it, is left out."""
CHANNELS_LAST = torch.channels_last
CALLS = 8
"""Calls of the model in one measurement of its speed."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One attack on so many samples."""

    name: str
    n: int
    gradients: float | None
    """A sample, as the attack itself reports them."""
    seconds: Sequence[float]
    """By round; empty where it was left out."""
    share: Sequence[float]
    """By round: the time that the same gradients and further forwards would take in full batches,
    as a share of the time that the attack took."""
    gradients_alone: Sequence[float]
    """The same with the forwards taken for nothing."""
    foreseen: float
    """Seconds that it was thought to take."""


class PrivateCopy(NamedTuple):
    """The model that the engine asks."""

    model: nn.Module
    """Frozen, in eval mode, folded where it can be."""
    rows: int
    """Of the largest batch that it was given."""
    layout: torch.memory_format

    def place(self, images: Tensor) -> Tensor:
        """A leaf in the layout that the engine works in."""
        return images.detach().clone(memory_format=self.layout).requires_grad_()


def private_copy(subject: Subject, images: Tensor) -> PrivateCopy:
    """Watches one step of the engine, by a hook that its copy of the model keeps."""
    root = nn.Sequential(subject.model).eval()
    seen: list[PrivateCopy] = []

    def note(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if module is not root:
            wide = given[0].ndim == 4 and given[0].is_contiguous(memory_format=CHANNELS_LAST)
            layout = CHANNELS_LAST if wide else torch.contiguous_format
            seen.append(PrivateCopy(module, len(given[0]), layout))

    root.register_forward_pre_hook(note)
    _, labels = subject.samples(len(images))
    attack(root, images, labels, Closest(1, refine=0))
    largest = max(seen, key=lambda copy: copy.rows)
    return largest._replace(model=largest.model[0])


def speed(twin: PrivateCopy, batch: Tensor) -> tuple[float, float]:
    """Seconds a sample for a forward with its input-gradient, and for a forward alone."""
    x = twin.place(batch)

    def gradients() -> None:
        for _ in range(CALLS):
            logits = twin.model(x)
            torch.autograd.grad(logits, x, torch.ones_like(logits))

    @torch.no_grad()
    def forwards() -> None:
        for _ in range(CALLS):
            twin.model(x)

    forwards()
    evaluations = CALLS * len(batch)
    return clock(gradients, x.device) / evaluations, clock(forwards, x.device) / evaluations


def scaling(
    subject: Subject, rivals: Sequence[Rival], sizes: Sequence[int], rounds: int
) -> list[Cell]:
    """Every attack at every size; the model's speed is taken anew before each run."""
    cells = []
    for rival in rivals:
        a_sample = 0.0
        for n in sizes:
            images, labels = subject.samples(n)
            cell = _cell(subject, rival, images, labels, rounds=rounds, foreseen=a_sample * n)
            cells.append(cell)
            a_sample = min(cell.seconds, default=a_sample * n) / n
    return cells


def _cell(
    subject: Subject,
    rival: Rival,
    images: Tensor,
    labels: Tensor,
    *,
    rounds: int,
    foreseen: float,
) -> Cell:
    n = len(images)
    twin = private_copy(subject, images)
    batch = images.repeat(-(-twin.rows // n), *[1] * (images.ndim - 1))[: twin.rows]
    runs: list[Found] = []
    seconds, share, alone = [], [], []
    for _ in range(rounds if foreseen <= SECONDS_AT_MOST else 0):
        before = speed(twin, batch)
        spent = clock(lambda: runs.append(rival.run(subject.model, images, labels)), images.device)
        after = speed(twin, batch)
        seconds.append(spent)
        if claim := runs[-1].claim:
            gradients, forwards = claim
            price, look = (sum(pair) / 2 for pair in zip(before, after, strict=True))
            share.append((gradients * price + (forwards - gradients) * look) * n / spent)
            alone.append(gradients * price * n / spent)
        if sum(seconds) > SECONDS_A_CELL:
            break
    counted = runs[-1].claim if runs else None
    return Cell(rival.name, n, counted[0] if counted else None, seconds, share, alone, foreseen)
