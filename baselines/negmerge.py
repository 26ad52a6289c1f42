"""NegMerge: subtract what several fine-tunings on the forget set agree on.

Kim et al., ICML 2025, https://arxiv.org/abs/2410.05583. With ``τ_k`` the change of the weights by
the k-th fine-tuning on the forget set, ``θ -= λ·mean_k(τ_k)`` where all τ_k have one sign; other θ
stays. The paper's repository is empty, and the paper leaves the pool of fine-tunings to whatever
grid was tried: here, three runs (other orders of batches) at each of lr, lr/2 and lr/10, one epoch,
as in torchunlearn's re-implementation. Each run starts at the original.

Weight decay is off in these runs: it would be what they agree on most, and its negation would make
every weight grow. λ is searched. BatchNorm's statistics stay the original's.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.influence import moved
from harness import Method, Span, Task, hookimpl, require_no_negative, train

RATES = (1.0, 0.5, 0.1)
"""Of the config's learning rate."""


@dataclass(frozen=True)
class NegmergeConfig:
    """Settings of the fine-tunings and of the negation."""

    epochs: int = 1
    lr: float = 1e-3
    """The largest; others are a half and a tenth of it."""
    repeats: int = 3
    """Runs at each learning rate."""
    scale: float = 1.0
    """λ: how much of the agreed change is subtracted."""

    def __post_init__(self) -> None:
        require_no_negative(self)
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1; got {self.repeats}")


def negmerge(task: Task, config: NegmergeConfig) -> nn.Module:
    """The original minus the agreed part of its fine-tunings on the forget set."""
    state = {name: value.clone() for name, value in task.model.state_dict().items()}
    before = _weights(task.model)
    rates = [config.lr * rate for rate in RATES for _ in range(config.repeats)]

    def changes() -> Iterable[Tensor]:
        for lr in rates:
            task.model.load_state_dict(state)
            _fit(task, config.epochs, lr)
            yield _weights(task.model) - before

    agreed = consensus(changes())
    task.model.load_state_dict(state)
    return moved(task.model, -config.scale * agreed)


def consensus(vectors: Iterable[Tensor]) -> Tensor:
    """The mean of one or more vectors, zero wherever their signs are not all the same.

    Raises StopIteration for none.
    """
    rest = iter(vectors)
    total = next(rest).clone()
    sign, same, count = total.sign(), torch.ones_like(total, dtype=torch.bool), 1
    for vector in rest:
        same &= vector.sign() == sign
        total += vector
        count += 1
    return torch.where(same, total / count, 0.0)


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def _fit(task: Task, epochs: int, lr: float) -> None:
    recipe = task.scenario.recipe
    train(
        task.model,
        task.forget,
        epochs=epochs,
        lr=lr,
        generator=task.generator,
        batch=recipe.batch,
        momentum=recipe.momentum,
        weight_decay=0.0,
        augmentation=recipe.augmentation,
    )


@hookimpl
def unlearning_methods() -> list[Method]:
    """The negated consensus of fine-tunings on the forget set."""
    return [
        Method(
            "negmerge",
            negmerge,
            NegmergeConfig(),
            needs_retain=False,
            paper="https://arxiv.org/abs/2410.05583",
            search={
                "epochs": Span(1, 3),
                "lr": Span(1e-4, 0.1, log=True),
                "scale": Span(0.1, 30, log=True),
            },
        )
    ]
