"""SFRon: rare forgetting steps on salient weights, each followed by steps on the retain set.

Huang et al., NeurIPS 2024, https://arxiv.org/abs/2409.19732. Before every ``forget_every``-th step
of CE(retain), the weights whose diagonal Fisher of the forget set is at least ``threshold`` times
that of the retain set climb the forget loss, in which sample i has weight ``CE_i⁻λ`` (mean 1): what
is already forgotten counts less. The climb's gradient is multiplied by a coefficient that falls as
a cosine to zero, masked, and clipped.

As in the official code a forgetting step continues through momentum in the retain steps after it,
and both kinds of steps share one cosine schedule. The mask holds for the forgetting steps and their
momentum, as in the paper: the retain steps move every weight. The official code makes both with one
optimizer, so that in a forgetting step the retain steps' momentum and weight decay move masked
weights too; here they do not. Its slow weights have a rate of 1, which is no averaging, so there
are none here. Its Fisher squares gradients of batches; here, of samples. Defaults are that code's
for 10 % of CIFAR-10 (its 1500 iterations are 4.3 epochs). BatchNorm's statistics see both sets.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from baselines.parts.fisher import diagonal_fisher
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
class SfronConfig:
    """Settings of the mask and of both kinds of steps."""

    epochs: int = 4
    lr: float = 0.01
    forget_every: int = 5
    """Retain steps for each forgetting step."""
    alpha: float = 25.0
    """The coefficient of the forgetting gradient at the start."""
    adaptivity: float = 0.5
    """λ: how much less a sample of high loss counts."""
    clip: float = 7.0
    """The forgetting gradient's largest norm."""
    threshold: float = 1.0
    """Of F_forget / F_retain, for a weight to be salient."""

    def __post_init__(self) -> None:
        require_no_negative(self)
        if self.forget_every < 1:
            raise ValueError(f"forget_every must be at least 1; got {self.forget_every}")


def sfron(task: Task, config: SfronConfig) -> nn.Module:
    """The original after CE(retain), with a salient forgetting step now and then."""
    mask = salient(
        diagonal_fisher(task.model, task.forget),
        diagonal_fisher(task.model, task.retain),
        config.threshold,
    )
    forgetting = Forgetting(task, config, mask)
    return fine_tune(
        task,
        task.retain,
        epochs=config.epochs,
        lr=config.lr,
        schedule="cosine",
        loss=forgetting.loss,
        after_step=forgetting.carry_on,
    )


def salient(
    forget: Mapping[str, Tensor], retain: Mapping[str, Tensor], threshold: float
) -> dict[str, Tensor]:
    """Parameter → bool of its shape: where ``F_forget ≥ threshold · F_retain``."""
    tiny = 1e-15  # so that a weight of no use to either counts as balanced
    return {name: forget[name] + tiny >= threshold * (retain[name] + tiny) for name in forget}


class Forgetting:
    """The forgetting steps among the retain steps, with a momentum of their own.

    An optimizer's momentum is a sum over all its steps. So keeping the two apart changes no
    unmasked weight, but lets the mask apply to the forgetting steps alone.
    """

    def __init__(self, task: Task, config: SfronConfig, mask: Mapping[str, Tensor]) -> None:
        self._config, self._mask = config, mask
        self._momentum = task.scenario.recipe.momentum
        self._stream = endless(task, task.forget)
        self._velocity = {name: torch.zeros_like(w) for name, w in task.model.named_parameters()}
        self._step = 0
        self._lr = 0.0

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """CE(retain); before each ``forget_every``-th it climbs the forget loss."""
        fade = (1 + math.cos(math.pi * batch.progress)) / 2
        self._lr = self._config.lr * fade
        if self._step % self._config.forget_every == 0:
            self.climb(model, next(self._stream), self._config.alpha * fade)
        self._step += 1
        return cross_entropy(model, batch)

    def climb(self, model: nn.Module, batch: Batch, alpha: float) -> None:
        """Moves the masked-in weights up ``alpha`` times the adaptive loss of the batch."""
        weights = dict(model.named_parameters())
        climbed = alpha * adaptive_loss(model(batch.images), batch.labels, self._config.adaptivity)
        found = torch.autograd.grad(climbed, list(weights.values()))
        gradients = {
            name: gradient * self._mask[name] for name, gradient in zip(weights, found, strict=True)
        }
        norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
        size = (self._config.clip / (norm + 1e-6)).clamp(max=1)
        self._move(model, {name: size * gradient for name, gradient in gradients.items()})

    def carry_on(self, model: nn.Module, _: Optimizer) -> None:
        """After a retain step, applies what is left of the forgetting steps' momentum."""
        self._move(model, {})

    @torch.no_grad()
    def _move(self, model: nn.Module, gradients: Mapping[str, Tensor]) -> None:
        for name, weight in model.named_parameters():
            velocity = self._velocity[name].mul_(self._momentum)
            if name in gradients:
                velocity.add_(gradients[name])
            weight.add_(self._lr * velocity)


def adaptive_loss(logits: Tensor, labels: Tensor, adaptivity: float) -> Tensor:
    """The mean of ``w·CE`` with weights ``w ∝ CE^-adaptivity`` of mean 1, which are constants."""
    losses = F.cross_entropy(logits, labels, reduction="none")
    weights = 1 / (losses.detach() ** adaptivity + 1e-15)
    return (weights / weights.mean() * losses).mean()


@hookimpl
def unlearning_methods() -> list[Method]:
    """Salient forgetting steps among steps on the retain set."""
    return [
        Method(
            "sfron",
            sfron,
            SfronConfig(),
            paper="https://arxiv.org/abs/2409.19732",
            search={
                "epochs": Span(1, 3),
                "lr": Span(1e-4, 0.3, log=True),
                "alpha": Span(0.1, 100, log=True),
                "forget_every": Span(1, 10),
            },
        )
    ]
