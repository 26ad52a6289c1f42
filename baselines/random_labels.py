"""Random labels: fine-tune with a fresh wrong label each time on every forget sample.

Golatkar et al., CVPR 2020; Graves et al., AAAI 2021, https://arxiv.org/abs/2010.10981. One shuffled
mixture of the retain and the forget set, as in AMUN's comparison; where no retain data is granted,
the forget set alone. Deviations from SalUn's repository: it may draw the recorded label, and on
CIFAR-10 it passes the forget set before the retain set. Defaults are for small tasks; that code's
arguments have 10 epochs at a constant lr of 0.01.
"""

from torch import nn

from baselines.parts.relabelling import SEARCH, RandomLabelsConfig, relabelling
from harness import Method, Task, fine_tune, hookimpl, join


def random_labels(task: Task, config: RandomLabelsConfig) -> nn.Module:
    """The original after ``CE(retain) + CE(forget, a random wrong label)``."""
    data = join(task.retain, task.forget)
    return fine_tune(task, data, recipe=config.recipe(task), loss=relabelling(task))


@hookimpl
def unlearning_methods() -> list[Method]:
    """Random labels, with or without the retain set."""
    return [
        Method(
            "random-labels",
            random_labels,
            RandomLabelsConfig(),
            needs_retain=False,
            paper="https://arxiv.org/abs/2010.10981",
            search=SEARCH,
        )
    ]
