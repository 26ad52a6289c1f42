"""l1-sparse: fine-tune on the retain set with an L1 penalty that fades out.

Jia et al., NeurIPS 2023, https://arxiv.org/abs/2304.04934. The penalty covers all parameters and
falls linearly to zero, here from batch to batch, in the paper's code from epoch to epoch. Defaults
are for small tasks; that code takes 10 epochs at a constant lr of 0.01, its README a gamma of 0.2,
AMUN's code one of 5e-4.
"""

from dataclasses import dataclass

from torch import nn

from baselines.parts.penalty import penalised
from harness import (
    Method,
    Span,
    Task,
    Training,
    fine_tune,
    hookimpl,
    require_no_negative,
)


@dataclass(frozen=True)
class L1SparseConfig(Training):
    """Settings of the fine-tuning."""

    epochs: int = 4
    lr: float = 0.1
    gamma: float = 1e-3
    """The penalty's weight at the start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_no_negative(self)


def l1_sparse(task: Task, config: L1SparseConfig) -> nn.Module:
    """The original after ``CE(retain) + gamma_t · ‖weights‖₁``."""
    return fine_tune(task, task.retain, recipe=config.recipe(task), loss=penalised(config.gamma))


@hookimpl
def unlearning_methods() -> list[Method]:
    """Fine-tuning with a fading L1 penalty."""
    paper = "https://arxiv.org/abs/2304.04934"
    search = {
        "epochs": Span(1, 4),
        "lr": Span(1e-3, 0.5, log=True),
        "gamma": Span(1e-5, 1e-2, log=True),
    }
    return [Method("l1-sparse", l1_sparse, L1SparseConfig(), paper=paper, search=search)]
