"""NegGrad+: descend the loss of the retain set and climb that of the forget set at once.

Kurmanji et al., NeurIPS 2023, https://arxiv.org/abs/2302.09880: each step descends
``α · CE(retain) − (1 − α) · CE(forget)``. As in SCRUB's code the two batches are passed separately,
an epoch is one over the retain set, and the forget set restarts whenever it runs out; BatchNorm's
statistics follow both. Defaults are DeepUnlearn's, which freezes BatchNorm and has no weight decay;
here weight decay is the scenario's, and the one-cycle schedule is ours.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from baselines.parts.streams import endless
from harness import (
    Batch,
    Method,
    Span,
    Task,
    cross_entropy,
    fine_tune,
    hookimpl,
    require_no_negative,
)


@dataclass(frozen=True)
class NegGradPlusConfig:
    """Settings of the training."""

    epochs: int = 10
    lr: float = 0.01
    alpha: float = 0.95
    """Weight of the retain set; the forget set has the rest of 1."""

    def __post_init__(self) -> None:
        require_no_negative(self)
        if self.alpha > 1:
            raise ValueError(f"alpha must be in [0, 1]; got {self.alpha}")


def neggrad_plus(task: Task, config: NegGradPlusConfig) -> nn.Module:
    """The original after ``α · CE(retain) − (1 − α) · CE(forget)``."""
    forget = endless(task, task.forget)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        kept = cross_entropy(model, batch)
        return config.alpha * kept - (1 - config.alpha) * cross_entropy(model, next(forget))

    return fine_tune(task, task.retain, epochs=config.epochs, lr=config.lr, loss=loss)


@hookimpl
def unlearning_methods() -> list[Method]:
    """Ascent on the forget set beside descent on the retain set."""
    return [
        Method(
            "neggrad-plus",
            neggrad_plus,
            NegGradPlusConfig(),
            paper="https://arxiv.org/abs/2302.09880",
            search={
                "epochs": Span(1, 3),
                "lr": Span(1e-4, 0.3, log=True),
                "alpha": Span(0.5, 0.9999),
            },
        )
    ]
