"""Influence unlearning (IU): one Newton-type step away from the forget set, by WoodFisher.

Izzo et al., AISTATS 2021; Jia et al., NeurIPS 2023, https://arxiv.org/abs/2304.04934, who invert
the Fisher by Woodbury's identity (Singh and Alistarh, https://arxiv.org/abs/2004.14340):
``θ += α·(λ·I + F)⁻¹·v`` with F the empirical Fisher of the retain set and
``v = n_f/(n_f + n_r)·(∇CE(forget) - ∇CE(retain))``.

F comes from one pass over ``samples`` of the retain set, in eval mode; both gradients are those of
whole sets. The system is solved by conjugate gradients: Woodbury's recursion, done right, gives the
same, but its products of all pairs of gradients cost more than retraining a small model.
Unlearn-Sparse's recursion never brings a later gradient into its second vector, so that its steps
cannot be compared with these at the same α. Its λ is 1 and its α 0.2, as here. Where the gradients
do not fit ``ROW_NUMBERS``, each row is the mean of several samples, as WoodFisher's mini-batches
are, and λ weighs more beside them. BatchNorm's statistics stay.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.parts.fisher import sample_gradients
from baselines.parts.gradients import mean_gradients
from baselines.parts.weights import moved
from harness import Data, Method, Span, Task, hookimpl

ROW_NUMBERS = 2**28
"""Gradients held at once, in float32 numbers, at most (1 GiB)."""

TOLERANCE = 1e-4
"""Of the residual, relative to the right-hand side, at which the system counts as solved."""

ITERATIONS = 200
"""At most; with a small λ the solution may not reach the tolerance by then."""


@dataclass(frozen=True)
class InfluenceConfig:
    """Settings of the step."""

    alpha: float = 0.2
    """The step's length."""
    damping: float = 1.0
    """λ: added to the Fisher's diagonal."""
    samples: int = 1000
    """Rows of the retain set for F, drawn without replacement; all of them where it has fewer."""

    def __post_init__(self) -> None:
        if self.alpha < 0 or self.damping <= 0 or self.samples < 1:
            raise ValueError(
                f"alpha must not be negative, damping must be positive and samples at least 1; "
                f"got {self.alpha}, {self.damping} and {self.samples}"
            )


def influence(task: Task, config: InfluenceConfig) -> nn.Module:
    """The original after one step of inverse Fisher times the forget set's influence."""
    drawn = torch.randperm(len(task.retain), generator=task.generator)[: config.samples]
    rows = gradient_rows(task.model, task.retain.select(drawn), ROW_NUMBERS)
    share = len(task.forget) / (len(task.forget) + len(task.retain))
    forget, retain = (_mean_gradient(task, data) for data in (task.forget, task.retain))
    step = inverse_fisher_product(rows, share * (forget - retain), config.damping)
    return moved(task.model, config.alpha * step)


def gradient_rows(model: nn.Module, data: Data, numbers: int) -> Tensor:
    """``(rows, parameters)``: gradients of single samples, or means of groups of equal size.

    Groups are as small as ``numbers`` in total allow; the last ``group - 1`` samples at most are
    left out.
    Raises ValueError for an empty set.
    """
    if len(data) == 0:
        raise ValueError("the Fisher information of an empty set is not defined")
    size = sum(weight.numel() for weight in model.parameters())
    group = -(-len(data) // max(1, min(len(data), numbers // size)))
    count = len(data) // group
    rows = torch.zeros(count, size, device=data.device)
    start = 0
    used = data.select(torch.arange(count * group))
    for chunk in sample_gradients(model, used):
        flat = _flat(chunk)
        owner = torch.arange(start, start + len(flat), device=data.device) // group
        rows.index_add_(0, owner, flat)
        start += len(flat)
    return rows / group


def inverse_fisher_product(rows: Tensor, vector: Tensor, damping: float) -> Tensor:
    """``(damping·I + rowsᵀ·rows/n)⁻¹·vector`` for n rows, by conjugate gradients."""
    found = torch.zeros_like(vector)
    residual = direction = vector
    squared = residual @ residual
    goal = TOLERANCE**2 * squared
    for _ in range(ITERATIONS):
        if squared <= goal:
            break
        image = damping * direction + rows.T @ (rows @ direction) / len(rows)
        length = squared / (direction @ image)
        found = found + length * direction
        residual = residual - length * image
        before, squared = squared, residual @ residual
        direction = residual + squared / before * direction
    return found


def _mean_gradient(task: Task, data: Data) -> Tensor:
    weights = list(task.model.parameters())
    means = mean_gradients(task.model, weights, data, batch=task.scenario.recipe.batch)
    return torch.cat([value.flatten() for value in means])


def _flat(gradients: Mapping[str, Tensor]) -> Tensor:
    """``(b, parameters)``, the parameters in the model's order."""
    return torch.cat([gradient.flatten(1) for gradient in gradients.values()], dim=1)


@hookimpl
def unlearning_methods() -> list[Method]:
    """One step of influence, by the inverse empirical Fisher."""
    return [
        Method(
            "influence",
            influence,
            InfluenceConfig(),
            paper="https://arxiv.org/abs/2304.04934",
            search={
                "alpha": Span(1e-3, 30, log=True),
                "damping": Span(0.1, 1, log=True),
            },
        )
    ]
