"""Gradient ascent (NegGrad): climb the loss of the forget set; the retain set is not used.

Golatkar et al., CVPR 2020; Thudi et al. 2022, https://arxiv.org/abs/2109.13398. Defaults are for
small tasks; Unlearn-Sparse takes lr 1e-4 and 5 epochs on CIFAR-10.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from harness import Batch, Method, Task, cross_entropy, hookimpl, require_no_negative, train


@dataclass(frozen=True)
class GradientAscentConfig:
    """Settings of the ascent; the learning rate stays constant, as in the papers' code."""

    epochs: int = 10
    lr: float = 0.005

    def __post_init__(self) -> None:
        require_no_negative(self)


def gradient_ascent(task: Task, config: GradientAscentConfig) -> nn.Module:
    """The original after descending ``-CE(forget)``."""
    recipe = task.scenario.recipe
    return train(
        task.model,
        task.forget,
        epochs=config.epochs,
        lr=config.lr,
        batch=recipe.batch,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        schedule="constant",
        augmentation=recipe.augmentation,
        loss=_ascent,
        generator=task.generator,
    )


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
        )
    ]
