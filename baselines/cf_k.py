"""CF-k: fine-tune the last k blocks on the retain set; catastrophic forgetting does the rest.

Goel et al. 2022, https://arxiv.org/abs/2201.06640. Weights and BatchNorm statistics before the last
k blocks stay bit for bit. ``baselines/parts/last_layers.py`` says what a block is (k counts the
classifier) and how this deviates from both official codes.
"""

from torch import nn

from baselines.parts.last_layers import SEARCH, LastLayersConfig, last_names, train_only
from harness import Method, Task, hookimpl


def cf_k(task: Task, config: LastLayersConfig) -> nn.Module:
    """The original after ``CE(retain)`` in its last k blocks."""
    return train_only(task, last_names(task.model, config.k), config)


@hookimpl
def unlearning_methods() -> list[Method]:
    """Fine-tuning of the last blocks."""
    return [
        Method(
            "cf-k",
            cf_k,
            LastLayersConfig(),
            paper="https://arxiv.org/abs/2201.06640",
            search=SEARCH,
        )
    ]
