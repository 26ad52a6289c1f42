"""Random labels: fine-tune with a wrong label, drawn anew each time, on every forget sample.

Golatkar et al., CVPR 2020; Graves et al., AAAI 2021, https://arxiv.org/abs/2010.10981. One shuffled
mixture of the retain and the forget set, as in AMUN's comparison; where no retain data is granted,
the forget set alone. Deviations from SalUn's repository: it may draw the own label, and on CIFAR-10
passes the forget set first and the retain set then. Defaults are for small tasks; that code's
arguments have 10 epochs at a constant lr of 0.01.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness import (
    Batch,
    FineTuning,
    Method,
    Span,
    Task,
    fine_tune,
    hookimpl,
    join,
    require_no_negative,
)

SEARCH: Mapping[str, Span] = {
    "epochs": Span(1, 4),
    "lr": Span(1e-3, 0.3, log=True),
    "epochs_without_retain": Span(1, 30),
    "lr_without_retain": Span(1e-4, 0.1, log=True),
}
"""Of random labels and SalUn."""


@dataclass(frozen=True)
class RandomLabelsConfig(FineTuning):
    """Settings of the fine-tuning."""

    epochs: int = 4
    lr: float = 0.02
    epochs_without_retain: int = 4
    lr_without_retain: float = 0.008

    def __post_init__(self) -> None:
        require_no_negative(self)


def random_labels(task: Task, config: RandomLabelsConfig) -> nn.Module:
    """The original after ``CE(retain) + CE(forget, a random wrong label)``."""
    epochs, lr = config.course(task)
    data = join(task.retain, task.forget)
    return fine_tune(task, data, epochs=epochs, lr=lr, loss=relabelling(task))


def relabelling(task: Task) -> Callable[[nn.Module, Batch], Tensor]:
    """The cross-entropy in which each forget sample of a batch has a fresh label, never its own."""
    forgotten = torch.zeros(
        int(torch.cat([task.retain.index, task.forget.index]).max()) + 1,
        dtype=torch.bool,
        device=task.forget.device,
    )
    forgotten[task.forget.index] = True

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        logits = model(batch.images)
        classes = logits.shape[1]
        shift = torch.randint(1, classes, batch.labels.shape, generator=task.generator)
        wrong = (batch.labels + shift.to(batch.labels.device)) % classes
        return F.cross_entropy(logits, torch.where(forgotten[batch.index], wrong, batch.labels))

    return loss


@hookimpl
def unlearning_methods() -> list[Method]:
    """Random labels, with or without the retain set."""
    return [
        Method(
            "random-labels",
            random_labels,
            RandomLabelsConfig(),
            needs_retain=False,
            paper="https://arxiv.org/abs/2010.10981",
            search=SEARCH,
        )
    ]
