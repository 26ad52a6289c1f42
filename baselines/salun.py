"""SalUn: random labels, but only the weights that matter most to the forget set's loss may move.

Fan et al., ICLR 2024, https://arxiv.org/abs/2310.12508. The mask takes the largest gradients of the
forget set's loss over all parameters together. Masked weights and their momentum are put back after
each step, so that neither momentum nor weight decay moves them (as the repository has it since
2026). Deviations: one shuffled mixture, as in the code's branch for CIFAR-100 (for CIFAR-10 it
passes the forget set before the retain set); never the recorded label; a one-cycle schedule.
Defaults are for small tasks; the code takes half of the weights, lr 0.013, 10 epochs.
"""

from dataclasses import dataclass

from torch import nn

from baselines.parts.relabelling import SEARCH, RandomLabelsConfig, relabelling
from baselines.parts.saliency import restoring, saliency_mask
from harness import Method, Span, Task, fine_tune, hookimpl, join


@dataclass(frozen=True)
class SalunConfig(RandomLabelsConfig):
    """Random labels' settings, and the mask's."""

    lr: float = 0.03
    lr_without_retain: float = 0.01
    ratio: float = 0.2
    """Share of the weights that may move."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.ratio <= 1:
            raise ValueError(f"ratio must be in (0, 1]; got {self.ratio}")


def salun(task: Task, config: SalunConfig) -> nn.Module:
    """The original after random labels on its salient weights."""
    mask = saliency_mask(task.model, task.forget, config.ratio, batch=task.scenario.recipe.batch)
    return fine_tune(
        task,
        join(task.retain, task.forget),
        recipe=config.recipe(task),
        loss=relabelling(task),
        after_step=restoring(task.model, mask),
    )


@hookimpl
def unlearning_methods() -> list[Method]:
    """Random labels on salient weights, with or without the retain set."""
    return [
        Method(
            "salun",
            salun,
            SalunConfig(),
            needs_retain=False,
            paper="https://arxiv.org/abs/2310.12508",
            search={**SEARCH, "ratio": Span(0.1, 0.9)},
        )
    ]
