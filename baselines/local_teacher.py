"""Local Teacher Distillation: soft labels for the forget set from a teacher of its neighbours.

Dolgova and Stich 2026, https://arxiv.org/abs/2605.31317 (Forgetting Has Neighbors): the random
targets of relabelling give way to the soft labels of a small teacher that is trained only on
retained neighbours of the forget set. Only the paper's abstract could be read, so this is a
reconstruction; everything else is our decision, defaults included. Neighbours are, for each forget
row, the k retained rows of largest cosine similarity between the inputs of the original's last
layer, and the teacher is trained on their union; the teacher is two convolutions with BatchNorm and
a linear layer, initialised from the method's own stream and trained by the scenario's recipe; its
softmax (T 1) on forget images without augmentation is their label. The original then descends one
mean cross-entropy over a shuffled mixture of the retain set with its own labels and the forget set
with the soft ones, whose gradient is that of KL(teacher ‖ student). BatchNorm's statistics follow
the mixture.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.parts.distillation import by_row
from harness import (
    Batch,
    Data,
    Method,
    Span,
    Task,
    fine_tune,
    hookimpl,
    join,
    predict,
    require_no_negative,
)

WIDTH = 16
"""Channels of the teacher's first convolution; its second has twice as many."""

CHUNK = 512
"""Forget rows that are compared with the retain set at a time."""


@dataclass(frozen=True)
class LocalTeacherConfig:
    """Settings of the neighbourhood, the teacher and the fine-tuning."""

    epochs: int = 3
    lr: float = 0.02
    neighbours: int = 10
    """Retained rows for each forget row."""
    teacher_epochs: int = 20
    teacher_lr: float = 0.1

    def __post_init__(self) -> None:
        require_no_negative(self)
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1; got {self.neighbours}")


def local_teacher(task: Task, config: LocalTeacherConfig) -> nn.Module:
    """The original after ``CE(retain) + CE(forget, soft labels of the local teacher)``."""
    forget, logits = features(task.model, task.forget)
    retain, _ = features(task.model, task.retain)
    local = task.retain.select(neighbours(forget, retain, config.neighbours))
    classes = logits.shape[1]
    teacher = fine_tune(
        task,
        local,
        model=small_network(task.retain.shape[0], classes, task.generator).to(logits.device),
        epochs=config.teacher_epochs,
        lr=config.teacher_lr,
    )
    data = join(task.retain, task.forget)
    known = F.one_hot(task.retain.labels, classes).float()
    targets = by_row(data, torch.cat([known, predict(teacher, task.forget).softmax(1)]))

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        return F.cross_entropy(model(batch.images), targets[batch.index])

    return fine_tune(task, data, epochs=config.epochs, lr=config.lr, loss=loss)


def features(model: nn.Module, data: Data) -> tuple[Tensor, Tensor]:
    """The inputs ``(n, d)`` of the last module with weights of its own, and the logits."""
    last = [part for part in model.modules() if any(True for _ in part.parameters(recurse=False))]
    seen: list[Tensor] = []
    handle = last[-1].register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].detach().flatten(1).float())
    )
    try:
        logits = predict(model, data)
    finally:
        handle.remove()
    return torch.cat(seen), logits


def neighbours(forget: Tensor, retain: Tensor, k: int) -> Tensor:
    """Ascending positions of the retained rows among the k nearest, by cosine, of a forget row."""
    forget, retain = F.normalize(forget), F.normalize(retain)
    near = torch.zeros(len(retain), dtype=torch.bool, device=retain.device)
    for start in range(0, len(forget), CHUNK):
        alike = forget[start : start + CHUNK] @ retain.T
        near[alike.topk(min(k, len(retain))).indices.flatten()] = True
    return near.nonzero().flatten()


def small_network(channels: int, classes: int, generator: torch.Generator) -> nn.Module:
    """The teacher, its weights uniform within ``√(3 / fan-in)`` of zero and its biases zero."""
    network = nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, WIDTH, 3, stride=2, padding=1),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(),
        nn.Conv2d(WIDTH, 2 * WIDTH, 3, stride=2, padding=1),
        nn.BatchNorm2d(2 * WIDTH),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(2 * WIDTH * 16, classes),
    )
    with torch.no_grad():
        for part in network:
            if isinstance(part, nn.Conv2d | nn.Linear):
                bound = math.sqrt(3 / math.prod(part.weight.shape[1:]))
                part.weight.uniform_(-bound, bound, generator=generator)
                torch.nn.init.zeros_(part.bias)  # type: ignore[arg-type]
    return network


@hookimpl
def unlearning_methods() -> list[Method]:
    """Distillation on the forget set from a teacher of its retained neighbours."""
    return [
        Method(
            "local-teacher",
            local_teacher,
            LocalTeacherConfig(),
            paper="https://arxiv.org/abs/2605.31317",
            search={
                "epochs": Span(1, 4),
                "lr": Span(1e-4, 0.3, log=True),
                "neighbours": Span(1, 30),
                "teacher_epochs": Span(1, 20),
            },
        )
    ]
