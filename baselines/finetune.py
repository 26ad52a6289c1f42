"""Fine-tune: continue training on the retain set alone.

Warnecke et al. 2021, https://arxiv.org/abs/2108.11577; Golatkar et al., CVPR 2020. Defaults are for
small tasks; Unlearn-Sparse takes 10 epochs at a constant lr of 0.01 on CIFAR-10, which its settings
can say (``schedule=constant``).
"""

from dataclasses import dataclass

from torch import nn

from harness import Method, Span, Task, Training, fine_tune, hookimpl, require_no_negative


@dataclass(frozen=True)
class FinetuneConfig(Training):
    """Settings of the fine-tuning."""

    epochs: int = 4
    lr: float = 0.12

    def __post_init__(self) -> None:
        super().__post_init__()
        require_no_negative(self)


def finetune(task: Task, config: FinetuneConfig) -> nn.Module:
    """The original after ``CE(retain)``."""
    return fine_tune(task, task.retain, recipe=config.recipe(task))


@hookimpl
def unlearning_methods() -> list[Method]:
    """Fine-tuning on the retain set."""
    paper = "https://arxiv.org/abs/2108.11577"
    search = {"epochs": Span(1, 4), "lr": Span(1e-3, 0.5, log=True)}
    return [Method("finetune", finetune, FinetuneConfig(), paper=paper, search=search)]
