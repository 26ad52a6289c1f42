"""Retrain-short: train from scratch on the retain set for a share of retraining's epochs.

The baseline that every approximate method must beat: it spends the same, and forgets exactly.
"""

from dataclasses import dataclass

from torch import nn

from harness import Method, Task, fine_tune, hookimpl


@dataclass(frozen=True)
class RetrainShortConfig:
    """Settings of the training; all else is the scenario's own recipe."""

    share: float = 0.2
    """Of the recipe's epochs, at least one."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be in (0, 1]; got {self.share}")


def retrain_short(task: Task, config: RetrainShortConfig) -> nn.Module:
    """A new model after a short training by the scenario's recipe."""
    recipe = task.scenario.recipe
    return fine_tune(
        task,
        task.retain,
        model=task.untrained(),
        recipe=recipe.retimed(
            epochs=max(1, round(config.share * recipe.epochs)),
            lr=recipe.lr,
            schedule=recipe.schedule,
        ),
    )


@hookimpl
def unlearning_methods() -> list[Method]:
    """Retraining at a fifth of its cost."""
    return [Method("retrain-short", retrain_short, RetrainShortConfig())]
