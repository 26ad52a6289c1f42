"""Random wrong labels on the forget set: the loss, and the settings of methods that descend it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Batch, FineTuning, Span, Task, require_no_negative

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
        super().__post_init__()
        require_no_negative(self)


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
