"""Runs attacks on one model: what each finds, what it spends, and how long it takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from adversarial_count import Tally, counted
from adversarial_models import Subject
from adversarial_rivals import Rival
from torch import Tensor, nn

from harness.training.loop import synchronised

LIBRARIES = ("torchattacks", "foolbox", "adv-lib")
SECONDS_A_RIVAL = 60.0
"""A library that has used this much time sits out the further rounds."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an attack found, judged by the caller's model in eval mode and float32."""

    name: str
    kind: str
    """Whose attack it is: a key of the figures' ``COLOURS``."""
    images: Tensor
    ok: Tensor
    """``(n,)`` bool: the model errs on the row, which lies in [0, 1] and is finite."""
    label: Tensor
    """``(n,)``: what the model says."""
    distance: Tensor
    """``(n,)``: L2 from the clean image; inf where the attack failed."""
    radius: Tensor | None
    gradients: float
    """A sample, by hooks."""
    forwards: float
    claim: tuple[float, float] | None
    """Gradients and forwards a sample as the attack itself reports them."""

    @property
    def success(self) -> float:
        """Share of the samples."""
        return float(self.ok.float().mean())

    @property
    def median(self) -> float:
        """L2, over all samples; inf where half of them failed."""
        return statistics.median(self.distance.tolist())


class Ratios(NamedTuple):
    """Two quotients' median and range over rounds."""

    median: float
    low: float
    high: float
    rounds: int


@torch.no_grad()
def judge(model: nn.Module, clean: Tensor, labels: Tensor, found: Tensor) -> tuple[Tensor, ...]:
    """Success, label and distance of each row, as ``Outcome`` has them; one batch at a time."""
    label = torch.cat([model(part).argmax(1) for part in found.split(256)])
    inside = ((found >= 0) & (found <= 1)).flatten(1).all(1)
    ok = (label != labels) & inside
    distance = (found - clean).flatten(1).norm(dim=1)
    return ok, label, distance.masked_fill(~ok, torch.inf)


def examine(subject: Subject, rival: Rival, images: Tensor, labels: Tensor) -> Outcome:
    """Runs one attack on a model that counts, and judges what it finds."""
    tally = Tally()
    torch.manual_seed(0)
    found = rival.run(counted(subject.model, tally), images.clone(), labels.clone())
    some = found.images.detach()
    ok, label, distance = judge(subject.model, images, labels, some)
    n = len(images)
    return Outcome(
        rival.name,
        rival.kind,
        some,
        ok,
        label,
        distance,
        found.radius,
        tally.gradients / n,
        tally.forwards / n,
        found.claim,
    )


def clock(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of one run."""
    with synchronised(device):
        start = time.perf_counter()
        run()
    return time.perf_counter() - start


def seconds(
    subject: Subject, rivals: Sequence[Rival], images: Tensor, labels: Tensor, rounds: int
) -> dict[str, list[float]]:
    """Wall-clock seconds of each attack by round, on the bare model, in an order that rotates.

    The attacks were run before, to be counted, so that all is warm.
    """
    times: dict[str, list[float]] = {rival.name: [] for rival in rivals}
    for number in range(rounds):
        turn = number * 3 % len(rivals)
        for rival in [*rivals[turn:], *rivals[:turn]]:
            spent = times[rival.name]
            if rival.kind in LIBRARIES and sum(spent) > SECONDS_A_RIVAL:
                continue
            torch.manual_seed(0)
            spent.append(clock(lambda r=rival: r.run(subject.model, images, labels), images.device))
    return times


def quotient(above: Sequence[float], below: Sequence[float]) -> Ratios:
    """Of two rows of seconds, over the rounds that both took part in."""
    ratios = [a / b for a, b in zip(above, below, strict=False)]
    return Ratios(statistics.median(ratios), min(ratios), max(ratios), len(ratios))


def ratio_of(outcome: Outcome, reference: Outcome) -> Tensor:
    """``(n,)``: distance over the reference's; inf where the attack failed, 1 where both are 0."""
    same = outcome.distance == reference.distance
    return (outcome.distance / reference.distance).masked_fill(same, 1.0)


def at(values: Tensor, share: float) -> float:
    """The value at this share of the sorted row: no interpolation, as some may be infinite."""
    return float(values.sort().values[min(len(values) - 1, int(share * len(values)))])
