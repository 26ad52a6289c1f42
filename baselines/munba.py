"""MUNBa: each step is the Nash bargain between the gradients of forgetting and of retaining.

Wu and Harandi, ICCV 2025, https://arxiv.org/abs/2411.15537. The players' weights α > 0 solve
``GᵀG·α = 1/α`` for ``G = [g_r, g_f]``: ``α_i = 1/(‖g_i‖·√(1 + cos(g_r, g_f)))``. So the bargain
always has norm √2, and the clip to norm 1 of the official code, kept here, fixes its length. Where
there is none (opposed gradients, or a zero one) the step is ``g_r + 0.1·g_f``, as in that code.
Solved exactly: the 1e-8 in that code's quotients makes its step one of forgetting alone where the
retain gradient is small, as it is on a model that has converged.

g_f is the gradient of random labels, never the recorded one (the official code may draw it). As
there, an epoch is one over the retain set whose first batches bargain with a batch of the forget
set each, and the others descend CE(retain); BatchNorm's statistics see both sets. Defaults: the
official constant lr of 0.01 and 10 epochs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.parts.relabelling import relabelling
from baselines.parts.streams import one_epoch
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
class MunbaConfig:
    """Settings of the fine-tuning."""

    epochs: int = 10
    lr: float = 0.01
    clip: float = 1.0
    """The bargain's largest norm."""

    def __post_init__(self) -> None:
        require_no_negative(self)


def munba(task: Task, config: MunbaConfig) -> nn.Module:
    """The original after bargaining on the forget and the retain set."""
    loss = _bargaining(task, config)
    return fine_tune(
        task,
        task.retain,
        epochs=config.epochs,
        lr=config.lr,
        schedule="constant",
        loss=loss,
    )


def _bargaining(task: Task, config: MunbaConfig) -> Callable[[nn.Module, Batch], Tensor]:
    forget_loss = relabelling(task)
    epoch = -1
    waiting: Iterator[Batch] = iter(())

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        nonlocal epoch, waiting
        if batch.epoch != epoch:
            epoch = batch.epoch
            waiting = one_epoch(task, task.forget)
        other = next(waiting, None)
        if other is None:
            return cross_entropy(model, batch)
        weights = list(model.parameters())
        retain = torch.autograd.grad(cross_entropy(model, batch), weights)
        forget = torch.autograd.grad(forget_loss(model, other), weights)
        step = _clipped(bargain(retain, forget), config.clip)
        # a sum whose gradient is the step, so that the recipe's optimizer takes it
        return torch.stack([(w * d).sum() for w, d in zip(weights, step, strict=True)]).sum()

    return loss


def bargain(retain: tuple[Tensor, ...], forget: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The Nash bargain of two gradients, or ``g_r + 0.1·g_f`` where there is none."""
    first, second = nash_weights(_dot(retain, retain), _dot(retain, forget), _dot(forget, forget))
    return tuple(first * r + second * f for r, f in zip(retain, forget, strict=True))


def nash_weights(retain: Tensor, both: Tensor, forget: Tensor) -> tuple[Tensor, Tensor]:
    """α of the retain and the forget gradient, from their three scalar products."""
    lengths = retain.sqrt() * forget.sqrt()
    agreement = 1 + both / lengths  # 1 + cos
    agreed = (lengths > 0) & (agreement > 1e-6)
    safe = torch.where(agreed, agreement, 1.0)
    first = torch.where(agreed, (retain * safe).rsqrt(), 1.0)
    second = torch.where(agreed, (forget * safe).rsqrt(), 0.1)
    return first, second


def _clipped(step: tuple[Tensor, ...], norm: float) -> tuple[Tensor, ...]:
    factor = (norm / (_dot(step, step).sqrt() + 1e-6)).clamp(max=1)
    return tuple(factor * part for part in step)


def _dot(left: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(left, right, strict=True)]).sum()


@hookimpl
def unlearning_methods() -> list[Method]:
    """Nash bargaining between forgetting and retaining."""
    return [
        Method(
            "munba",
            munba,
            MunbaConfig(),
            paper="https://arxiv.org/abs/2411.15537",
            search={"epochs": Span(1, 4), "lr": Span(1e-4, 0.3, log=True)},
        )
    ]
