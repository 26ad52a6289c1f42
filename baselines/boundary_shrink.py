"""Boundary Shrink: give each forget image the class on the other side of its nearest boundary.

Chen et al., CVPR 2023, https://arxiv.org/abs/2303.11570. The neighbour is one FGSM step away,
``clamp(x + bound·sign(∇CE), 0, 1)``, and its class is the original model's prediction; both are
computed once. As in the official code, a neighbour that the original does not assign to another
class keeps its label. Defaults are that code's. Deviations: the neighbour is not rounded to 8 bits;
the scenario's weight decay and augmentation in the fine-tuning, where the code has none; a
one-cycle schedule. The code's step is in units that its data do not have; here it is in pixels.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness import (
    Data,
    Method,
    Span,
    Task,
    as_float,
    batches,
    fine_tune,
    hookimpl,
    predict,
    require_no_negative,
)


@dataclass(frozen=True)
class BoundaryShrinkConfig:
    """Settings of the step and the fine-tuning."""

    epochs: int = 10
    lr: float = 1e-5
    bound: float = 0.1
    """The step, for each pixel, in units of [0, 1]."""

    def __post_init__(self) -> None:
        require_no_negative(self)


def boundary_shrink(task: Task, config: BoundaryShrinkConfig) -> nn.Module:
    """The original after ``CE(forget, the neighbour's class)``."""
    labels = neighbour_classes(
        task.model, task.forget, config.bound, batch=task.scenario.recipe.batch
    )
    return fine_tune(task, task.forget.relabel(labels), epochs=config.epochs, lr=config.lr)


def neighbour_classes(model: nn.Module, forget: Data, bound: float, *, batch: int) -> Tensor:
    """``(n,)`` int64: the model's prediction for each image after one step up its loss."""
    model.eval()
    moved = torch.empty_like(as_float(forget.images))
    order = torch.Generator().manual_seed(0)  # any order: each row is written to its own place
    numbered = replace(forget, index=torch.arange(len(forget), device=forget.device))
    for part in batches(numbered, batch=batch, generator=order):
        images = part.images.clone().requires_grad_()
        loss = F.cross_entropy(model(images), part.labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, images)
        moved[part.index] = (part.images + bound * gradient.sign()).clamp(0, 1)
    return predict(model, replace(forget, images=moved)).argmax(1)


@hookimpl
def unlearning_methods() -> list[Method]:
    """Boundary Shrink, from the forget set and the weights alone."""
    return [
        Method(
            "boundary-shrink",
            boundary_shrink,
            BoundaryShrinkConfig(),
            needs_retain=False,
            paper="https://arxiv.org/abs/2303.11570",
            search={
                "epochs": Span(1, 20),
                "lr": Span(1e-5, 0.05, log=True),
                "bound": Span(0.02, 0.3, log=True),
            },
        )
    ]
