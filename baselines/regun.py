"""ReGUn: answer on the forget set as the original answers on held-out data.

Mirlach et al. 2026, https://arxiv.org/abs/2603.11210. For each batch of forget rows as many
held-out rows are drawn with replacement: by the selector ``uniform`` from all of them, as is the
released code's default, or by ``class-matched``, as in the paper, one of the class of each forget
row. The mean of the original's softmax over these is the one target of the whole batch, and a step
descends ``w_f · KL(target ‖ student(forget)) + w_r · CE(retain)``. As released, an epoch is a pass
over the forget set, and the retain set restarts whenever it runs out; the rate is constant, there
is no weight decay, and both weights are one half. Of the code we know no more than this. Our
decisions: as many held-out rows as forget rows; where a class has none, one of all held-out rows;
the reference sees no augmentation; batch and momentum are the recipe's. BatchNorm's statistics
follow both batches.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

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
    hookimpl,
    predict,
    require_no_negative,
    train,
)

Selector = Literal["uniform", "class-matched"]


@dataclass(frozen=True)
class RegunConfig:
    """Settings of the training and of the reference."""

    epochs: int = 10
    """Passes over the forget set."""
    lr: float = 0.01
    forget_weight: float = 0.5
    retain_weight: float = 0.5
    selector: Selector = "uniform"
    """Which held-out rows make the target of a batch."""
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        require_no_negative(self)
        if self.selector not in get_args(Selector):
            raise ValueError(f"selector must be one of {get_args(Selector)}; got {self.selector!r}")


def regun(task: Task, config: RegunConfig) -> nn.Module:
    """The original after learning the reference on the forget set, and ``CE(retain)``."""
    reference = predict(task.model, task.held_out).log_softmax(1)
    retained = endless(task, task.retain)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        drawn = selected(config.selector, batch.labels, task.held_out.labels, task.generator)
        mean = reference[drawn].logsumexp(0, keepdim=True)  # up to a constant; never -inf
        apart = divergence(mean.expand(len(drawn), -1), model(batch.images))
        kept = cross_entropy(model, next(retained))
        return config.forget_weight * apart + config.retain_weight * kept

    recipe = task.scenario.recipe.retimed(epochs=config.epochs, lr=config.lr, schedule="constant")
    recipe = replace(recipe, weight_decay=config.weight_decay)
    return train(task.model, task.forget, recipe, generator=task.generator, loss=loss)


def selected(
    selector: Selector, labels: Tensor, held_out: Tensor, generator: torch.Generator
) -> Tensor:
    """Positions ``(b,)`` of the held-out rows for a batch with these labels."""
    if selector == "class-matched":
        return same_classes(labels, held_out, generator)
    return torch.randint(len(held_out), labels.shape, generator=generator).to(labels.device)


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
                "epochs": Span(2, 15),
                "lr": Span(1e-4, 0.3, log=True),
                "forget_weight": Span(0.1, 2.0),
            },
        )
    ]
