"""EU-k: reinitialise the last k blocks and train them on the retain set: exact for those blocks.

Goel et al. 2022, https://arxiv.org/abs/2201.06640. The new weights and BatchNorm statistics are
those of a network that was never trained (Goel's code leaves BatchNorm as it is, DeepUnlearn's its
statistics); everything before the last k blocks stays bit for bit. All else is as in CF-k, see
``baselines/parts/last_layers.py``.
"""

from torch import nn

from baselines.parts.last_layers import (
    SEARCH,
    LastLayersConfig,
    last_names,
    reinitialise,
    train_only,
)
from harness import Method, Task, hookimpl


def eu_k(task: Task, config: LastLayersConfig) -> nn.Module:
    """The original with its last k blocks retrained from scratch by ``CE(retain)``."""
    names = last_names(task.model, config.k)
    reinitialise(task, names)
    return train_only(task, names, config)


@hookimpl
def unlearning_methods() -> list[Method]:
    """Retraining of the last blocks."""
    return [
        Method(
            "eu-k",
            eu_k,
            LastLayersConfig(),
            paper="https://arxiv.org/abs/2201.06640",
            search=SEARCH,
        )
    ]
