"""NegMerge: subtract what several fine-tunings on the forget set agree on.

Kim et al., ICML 2025, https://arxiv.org/abs/2410.05583. With ``τ_k`` the change of the weights by
the k-th fine-tuning on the forget set, ``θ -= λ·mean_k(τ_k)`` where all τ_k have one sign; other θ
stays. The authors' code has CLIP alone; a re-run of the paper's ResNet gives its pool as 27 models
at lr 0.05: 40, 50 and 60 epochs, times three rates of label smoothing, times three of weight decay
(https://github.com/ArisKaralis/COMP6258-negmerge, which names the paper's section A). Here the pool
is 9 models: 0.8, 1 and 1.2 times ``epochs``, times the label smoothing, each from the original and
with an order of batches of its own. Deviations: far fewer epochs, since theirs cost more than
retraining a small model; no weight decay, which is what the runs would agree on most, and whose
negation would make every weight grow; the one-cycle schedule. λ is searched. BatchNorm's statistics
stay the original's.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.parts.weights import moved
from harness import Batch, Method, Span, Task, hookimpl, require_no_negative, train

LENGTHS = (0.8, 1.0, 1.2)
"""Of the config's epochs."""

SMOOTHINGS = (0.0, 0.05, 0.1)
"""Of the labels."""


@dataclass(frozen=True)
class NegmergeConfig:
    """Settings of the fine-tunings and of the negation."""

    epochs: int = 4
    """Of the middle third of the runs."""
    lr: float = 0.05
    scale: float = 1.0
    """λ: how much of the agreed change is subtracted."""

    def __post_init__(self) -> None:
        require_no_negative(self)


def negmerge(task: Task, config: NegmergeConfig) -> nn.Module:
    """The original minus the agreed part of its fine-tunings on the forget set."""
    state = {name: value.clone() for name, value in task.model.state_dict().items()}
    before = _weights(task.model)

    def changes() -> Iterable[Tensor]:
        for length, smoothing in itertools.product(LENGTHS, SMOOTHINGS):
            task.model.load_state_dict(state)
            _fit(task, round(length * config.epochs), config.lr, smoothing)
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


def _fit(task: Task, epochs: int, lr: float, smoothing: float) -> None:
    recipe = task.scenario.recipe.retimed(epochs=epochs, lr=lr, schedule="one-cycle")
    train(
        task.model,
        task.forget,
        replace(recipe, weight_decay=0.0),
        generator=task.generator,
        loss=partial(_smoothed, smoothing=smoothing),
    )


def _smoothed(model: nn.Module, batch: Batch, *, smoothing: float) -> Tensor:
    return F.cross_entropy(model(batch.images), batch.labels, label_smoothing=smoothing)


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
                "epochs": Span(1, 4),
                "lr": Span(1e-3, 0.3, log=True),
                "scale": Span(0.05, 10, log=True),
            },
        )
    ]
