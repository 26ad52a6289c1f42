"""ReGUn: answer on the forget set as the original answers on held-out data of the same classes.

Mirlach et al. 2026, https://arxiv.org/abs/2603.11210. For each batch of forget rows as many
held-out rows are drawn, uniformly with replacement, one of the class of each. The mean of the
original's softmax over these is the one target of the whole batch, and a step descends
``w_f · KL(target ‖ student(forget)) + w_r · CE(retain)``. Defaults are the code's (weights of one
half, T 1, uniform draw). An epoch is one over the retain set, and the forget set restarts whenever
it runs out. Neither paper nor code could be read beyond the abstract and a third party's notes; our
decisions: as many held-out rows as forget rows; where a class has none, one of all held-out rows;
the reference sees no augmentation; the one-cycle schedule. BatchNorm's statistics follow both
batches.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.parts.distillation import divergence
from baselines.parts.streams import endless
from harness import (
    Batch,
    Method,
    Span,
    Task,
    cross_entropy,
    fine_tune,
    hookimpl,
    predict,
    require_no_negative,
)


@dataclass(frozen=True)
class RegunConfig:
    """Settings of the training."""

    epochs: int = 10
    lr: float = 0.01
    forget_weight: float = 0.5
    retain_weight: float = 0.5

    def __post_init__(self) -> None:
        require_no_negative(self)


def regun(task: Task, config: RegunConfig) -> nn.Module:
    """The original after learning the reference on the forget set, and ``CE(retain)``."""
    reference = predict(task.model, task.held_out).log_softmax(1)
    forget = endless(task, task.forget)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        part = next(forget)
        drawn = same_classes(part.labels, task.held_out.labels, task.generator)
        mean = reference[drawn].logsumexp(0, keepdim=True)  # up to a constant; never -inf
        target = mean.expand(len(drawn), -1)
        apart = divergence(target, model(part.images))
        return config.forget_weight * apart + config.retain_weight * cross_entropy(model, batch)

    return fine_tune(task, task.retain, epochs=config.epochs, lr=config.lr, loss=loss)


def same_classes(labels: Tensor, held_out: Tensor, generator: torch.Generator) -> Tensor:
    """For each label a random position in the held-out labels that has it; any, if none has."""
    allowed = labels[:, None] == held_out
    allowed |= ~allowed.any(1, keepdim=True)
    count = allowed.sum(1)
    chance = torch.rand(len(labels), generator=generator).to(labels.device)
    chosen = (chance * count).long().clamp(max=count - 1)
    return (allowed.cumsum(1) > chosen[:, None]).int().argmax(1)


@hookimpl
def unlearning_methods() -> list[Method]:
    """Distillation from the original's answers to unseen data."""
    return [
        Method(
            "regun",
            regun,
            RegunConfig(),
            needs_held_out=True,
            paper="https://arxiv.org/abs/2603.11210",
            search={
                "epochs": Span(1, 4),
                "lr": Span(1e-4, 0.3, log=True),
                "forget_weight": Span(0.1, 2.0),
            },
        )
    ]
