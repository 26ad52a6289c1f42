"""CT (convolution transpose): swap height and width of every kernel, then fine-tune to repair.

Fifth of the NeurIPS 2023 unlearning challenge on Kaggle; described and re-run by Cadet et al. 2024,
https://arxiv.org/abs/2410.01276, whose code gives the defaults: lr 1e-3 and 3 epochs on the retain
set with a cosine schedule (it steps per epoch there, per batch here; no augmentation there, the
scenario's here). A kernel that is not square is left alone: transposed, it would no longer
fit. A ViT has one such kernel, its patch embedding; its linear layers have no height and width, and
stay. BatchNorm's statistics follow the fine-tuning.
"""

from dataclasses import dataclass

import torch
from torch import nn

from harness import Method, Span, Task, UserError, fine_tune, hookimpl, require_no_negative


@dataclass(frozen=True)
class CtConfig:
    """Settings of the fine-tuning."""

    epochs: int = 3
    lr: float = 1e-3

    def __post_init__(self) -> None:
        require_no_negative(self)


def ct(task: Task, config: CtConfig) -> nn.Module:
    """The original with transposed kernels after ``CE(retain)``.

    Raises UserError for a network in which the transposition changes nothing.
    """
    transpose_kernels(task.model)
    return fine_tune(task, task.retain, epochs=config.epochs, lr=config.lr, schedule="cosine")


@torch.no_grad()
def transpose_kernels(model: nn.Module) -> None:
    """Swaps the last two axes of each square kernel of a 2-d convolution, in place.

    Raises UserError where no kernel is larger than 1×1 and square.
    """
    kernels = [layer.weight for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    square = [kernel for kernel in kernels if 1 < kernel.shape[2] == kernel.shape[3]]
    if not square:
        raise UserError(
            "ct needs a network with a square convolution kernel larger than 1×1; it has none"
        )
    for kernel in square:
        kernel.copy_(kernel.transpose(2, 3).clone())


@hookimpl
def unlearning_methods() -> list[Method]:
    """Transposed convolutions and fine-tuning."""
    return [
        Method(
            "ct",
            ct,
            CtConfig(),
            paper="https://arxiv.org/abs/2410.01276",
            search={"epochs": Span(1, 4), "lr": Span(1e-4, 0.3, log=True)},
        )
    ]
