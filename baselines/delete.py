"""DELETE: keep on the forget set what the original predicts for all classes but the recorded one.

Zhou et al., CVPR 2025, https://arxiv.org/abs/2503.23751: descend KL(target ‖ student) on the forget
set, where the target is the original's softmax with the recorded class left out. No retain data is
used. It leaves no forget row its recorded class, which retraining does for a class, but not for
random samples. Defaults are the code's for CIFAR-10 and ResNet-18 (5e-5 for its other data sets,
1e-3 in its script); the rate is constant, as there, and BatchNorm's statistics follow the forget
set, as there but for one class of TinyImageNet. Deviations: the scenario's weight decay, where the
code has none, and targets of images without augmentation, where both see one augmented image.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.parts.distillation import by_row, divergence
from harness import Batch, Method, Span, Task, fine_tune, hookimpl, predict, require_no_negative

NEVER = -1e10
"""The logit of a class that has no probability; finite, so that 0 · log 0 is 0."""


@dataclass(frozen=True)
class DeleteConfig:
    """Settings of the distillation."""

    epochs: int = 20
    lr: float = 1e-4

    def __post_init__(self) -> None:
        require_no_negative(self)


def delete(task: Task, config: DeleteConfig) -> nn.Module:
    """The original after learning its own masked predictions on the forget set."""
    masked = without_class(predict(task.model, task.forget), task.forget.labels)
    teacher = by_row(task.forget, masked)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        return divergence(teacher[batch.index], model(batch.images))

    return fine_tune(
        task,
        task.forget,
        epochs=config.epochs,
        lr=config.lr,
        schedule="constant",
        loss=loss,
    )


def without_class(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits ``(n, classes)`` with no probability left for each row's label."""
    return torch.scatter(logits, 1, labels[:, None], NEVER)


@hookimpl
def unlearning_methods() -> list[Method]:
    """Distillation from the original without the recorded class."""
    return [
        Method(
            "delete",
            delete,
            DeleteConfig(),
            needs_retain=False,
            paper="https://arxiv.org/abs/2503.23751",
            search={"epochs": Span(1, 30), "lr": Span(1e-5, 0.03, log=True)},
        )
    ]
