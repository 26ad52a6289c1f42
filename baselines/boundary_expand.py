"""Boundary Expand: move a forgotten class into a shadow class, and drop that one.

Chen et al., CVPR 2023, https://arxiv.org/abs/2303.11570; for class forgetting. The classifier gains
one output, which becomes the label of every forget image; after fine-tuning it is removed. It is
added once, before the optimizer is made; AMUN's copy adds one per epoch, which is never trained.
Deviations: the scenario's weight decay and augmentation, where the code has none; a one-cycle
schedule; the new output's weights are drawn with the mean and standard deviation of the others, and
its bias is their mean (in the code Xavier's draw and zero). Defaults are the official code's.
"""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from harness import (
    Method,
    Span,
    Task,
    UserError,
    WholeClass,
    fine_tune,
    hookimpl,
    require_no_negative,
)

Head = nn.Linear | nn.Conv2d


@dataclass(frozen=True)
class BoundaryExpandConfig:
    """Settings of the fine-tuning."""

    epochs: int = 10
    lr: float = 1e-5

    def __post_init__(self) -> None:
        require_no_negative(self)


def boundary_expand(task: Task, config: BoundaryExpandConfig) -> nn.Module:
    """The original after ``CE(forget, the shadow class)``, without that class."""
    classes = _classes(task)
    name, head = classifier(task.model, classes)
    wide = widened(head, task.generator)
    place, _, last = name.rpartition(".")
    parent = task.model.get_submodule(place)
    setattr(parent, last, wide)
    shadow = torch.full_like(task.forget.labels, classes)
    fine_tune(task, task.forget.relabel(shadow), epochs=config.epochs, lr=config.lr)
    with torch.no_grad():
        for ours, theirs in zip(head.parameters(), wide.parameters(), strict=True):
            ours.copy_(theirs[:classes])
    setattr(parent, last, head)
    return task.model.eval()


def _classes(task: Task) -> int:
    task.model.eval()
    with torch.no_grad():
        return int(
            task.model(torch.zeros(1, *task.forget.shape, device=task.forget.device)).shape[1]
        )


def classifier(model: nn.Module, classes: int) -> tuple[str, Head]:
    """Name and module of the last linear layer with that many outputs.

    Raises UserError where the network has none.
    """
    heads = [
        (name, part)
        for name, part in model.named_modules()
        if (isinstance(part, nn.Linear) and part.out_features == classes)
        or (isinstance(part, nn.Conv2d) and part.out_channels == classes and part.groups == 1)
    ]
    if not heads:
        raise UserError(
            f"boundary-expand: the network has no linear layer of {classes} outputs to widen"
        )
    return heads[-1]


def widened(head: Head, generator: torch.Generator) -> Head:
    """The head with one more output, whose weights are spread like the others'."""
    weight = head.weight.detach()
    drawn = torch.randn(1, *weight.shape[1:], generator=generator).to(weight)
    rows = torch.cat([weight, weight.mean() + weight.std() * drawn])
    wide = copy.deepcopy(head)
    if isinstance(wide, nn.Linear):
        wide.out_features = len(rows)
    else:
        wide.out_channels = len(rows)
    wide.weight = nn.Parameter(rows)
    if head.bias is not None:
        bias = head.bias.detach()
        wide.bias = nn.Parameter(torch.cat([bias, bias.mean()[None]]))
    return wide


@hookimpl
def unlearning_methods() -> list[Method]:
    """Boundary Expand, from the forget set and the weights alone."""
    return [
        Method(
            "boundary-expand",
            boundary_expand,
            BoundaryExpandConfig(),
            needs_retain=False,
            defined_for=frozenset({WholeClass.kind}),
            paper="https://arxiv.org/abs/2303.11570",
            search={"epochs": Span(1, 20), "lr": Span(1e-5, 0.05, log=True)},
        )
    ]
