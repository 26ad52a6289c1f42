"""Gradient ascent (NegGrad): climb the loss of the forget set; the retain set is not used.

Golatkar et al., CVPR 2020; Thudi et al. 2022, https://arxiv.org/abs/2109.13398. Defaults are for
small tasks; Unlearn-Sparse takes lr 1e-4 and 5 epochs on CIFAR-10.
"""

from dataclasses import dataclass, field

from torch import Tensor, nn

from harness import (
    Batch,
    Method,
    Schedule,
    Span,
    Task,
    Training,
    cross_entropy,
    fine_tune,
    hookimpl,
    require_no_negative,
)


@dataclass(frozen=True)
class GradientAscentConfig(Training):
    """Settings of the ascent."""

    epochs: int = 10
    lr: float = 0.005
    schedule: Schedule = field(default="constant", kw_only=True, metadata={"later": True})
    """The learning rate stays constant, as in the papers' code."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_no_negative(self)


def gradient_ascent(task: Task, config: GradientAscentConfig) -> nn.Module:
    """The original after descending ``-CE(forget)``."""
    return fine_tune(task, task.forget, recipe=config.recipe(task), loss=_ascent)


def _ascent(model: nn.Module, batch: Batch) -> Tensor:
    return -cross_entropy(model, batch)


@hookimpl
def unlearning_methods() -> list[Method]:
    """Gradient ascent on the forget set."""
    return [
        Method(
            "gradient-ascent",
            gradient_ascent,
            GradientAscentConfig(),
            needs_retain=False,
            paper="https://arxiv.org/abs/2109.13398",
            search={"epochs": Span(1, 20), "lr": Span(1e-5, 0.05, log=True)},
        )
    ]
