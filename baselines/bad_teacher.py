"""Bad Teacher: learn the forget set from an untrained network, the retain set from the original.

Chundawat et al., AAAI 2023, https://arxiv.org/abs/2205.08096: one shuffled mixture of the forget
set and a random part of the retain set; each row descends KL(teacher ‖ student), the teacher a
freshly initialised network for forget rows and the original for the others. Defaults are those of
the code's notebook (30 % of the retain set, 1 epoch, T 1). Deviations: the divergence is summed
over the classes (the code's is smaller by their number) and multiplied by T²; SGD by the scenario's
recipe with a one-cycle schedule takes the place of Adam at 1e-4, whose rate does not carry over;
both teachers see the images once, without augmentation, where the code augments nothing.
BatchNorm's statistics follow the mixture.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.parts.distillation import by_row, divergence
from baselines.parts.subsets import share_of
from harness import (
    Batch,
    Method,
    Span,
    Task,
    fine_tune,
    hookimpl,
    join,
    predict,
    require_no_negative,
)


@dataclass(frozen=True)
class BadTeacherConfig:
    """Settings of the distillation."""

    epochs: int = 1
    lr: float = 0.01
    retain_share: float = 0.3
    """Of the retain set, drawn once."""
    temperature: float = 1.0

    def __post_init__(self) -> None:
        require_no_negative(self)
        if not 0 < self.retain_share <= 1 or self.temperature == 0:
            raise ValueError(
                f"retain_share must be in (0, 1] and temperature positive; "
                f"got {self.retain_share} and {self.temperature}"
            )


def bad_teacher(task: Task, config: BadTeacherConfig) -> nn.Module:
    """The original after learning from a good and from a bad teacher."""
    retain = share_of(task, task.retain, config.retain_share)
    data = join(retain, task.forget)
    bad = task.untrained().to(task.forget.device)
    logits = [predict(task.model, retain), predict(bad, task.forget)]
    teacher = by_row(data, torch.cat(logits))

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        return divergence(teacher[batch.index], model(batch.images), temperature=config.temperature)

    return fine_tune(task, data, epochs=config.epochs, lr=config.lr, loss=loss)


@hookimpl
def unlearning_methods() -> list[Method]:
    """Distillation from a competent and an incompetent teacher."""
    return [
        Method(
            "bad-teacher",
            bad_teacher,
            BadTeacherConfig(),
            paper="https://arxiv.org/abs/2205.08096",
            search={
                "epochs": Span(1, 6),
                "lr": Span(1e-4, 0.3, log=True),
                "retain_share": Span(0.1, 1.0),
            },
        )
    ]
