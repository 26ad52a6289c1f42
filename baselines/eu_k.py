"""EU-k: initialise the last k blocks anew and train them on the retain set: exact for those blocks.

Goel et al. 2022, https://arxiv.org/abs/2201.06640. The new weights and BatchNorm statistics are
those of a network that was never trained; all before the last k blocks stays bit for bit. Blocks,
k and defaults are CF-k's; the one-cycle schedule is ours.
"""

from torch import nn

from baselines.last_layers import LastLayersConfig, last_names, reinitialise, train_only
from harness import Method, Span, Task, hookimpl


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
            search={"epochs": Span(1, 8), "lr": Span(1e-3, 0.3, log=True), "k": Span(1, 4)},
        )
    ]
