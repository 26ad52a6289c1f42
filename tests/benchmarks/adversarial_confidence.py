"""What becomes of the published loop on more confident models: the same one, its logits scaled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from adversarial_measure import Outcome, examine
from adversarial_models import Subject
from adversarial_rivals import Rival
from adversarial_tables import number
from torch import Tensor, nn

SCALES = (1, 3, 10)
SAMPLES = 32


class Scaled(nn.Module):
    """The same decisions, and so the same nearest examples, with more confidence."""

    def __init__(self, model: nn.Module, scale: float) -> None:
        super().__init__()
        self.model, self.scale = model, scale

    def forward(self, images: Tensor) -> Tensor:
        """The logits, multiplied."""
        return self.model(images) * self.scale


def confidence(subject: Subject, rivals: Sequence[Rival]) -> Iterable[str]:
    """A table: each attack's radii at each scale against the published ones at scale 1.

    The first rival is the published loop, a sample at a time. What it has not found after twelve
    doublings it will never find: it has no end.
    """
    images, labels = subject.samples(SAMPLES)
    yield f"### {subject.name}, n = {SAMPLES}: the same model with its logits multiplied\n"
    yield "| attack | logits × | ends | same radius | median L2 | farthest | gradients |"
    yield "|---|---|---|---|---|---|---|"
    truth = None
    for rival in rivals:
        for scale in SCALES:
            model = Scaled(subject.model, scale).eval()
            scaled = Subject(subject.name, model, subject.train, subject.right)
            outcome = examine(scaled, rival, images, labels)
            truth = outcome.radius if truth is None else truth
            yield f"| {rival.name} | {scale} | {_cells(outcome, truth)} |"
    yield ""


def _cells(outcome: Outcome, truth: Tensor) -> str:
    assert outcome.radius is not None
    same = float(torch.isclose(outcome.radius, truth).float().mean())
    balls = "–" if outcome.radius.isnan().all() else f"{same:.0%}"
    farthest = max(outcome.distance[outcome.ok].tolist(), default=float("nan"))
    return (
        f"{outcome.success:.0%} | {balls} | {number(outcome.median, 4)} | {farthest:.3f} "
        f"| {outcome.gradients:.1f}"
    )
