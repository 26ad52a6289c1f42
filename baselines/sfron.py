"""SFRon: rare forgetting steps on salient weights, each followed by steps on the retain set.

Huang et al., NeurIPS 2024, https://arxiv.org/abs/2409.19732. Before every ``forget_every``-th step
of CE(retain), the weights whose diagonal Fisher of the forget set is at least ``threshold`` times
that of the retain set climb the forget loss, in which sample i has weight ``CE_i⁻λ`` (mean 1): what
is already forgotten counts less. The climb's gradient is multiplied by a coefficient that falls as
a cosine to zero, masked, and clipped.

The mask holds for the forgetting steps alone, as in the paper: the retain steps move every weight.
The official code takes both with one optimizer, whose momentum and weight decay move masked weights
in a forgetting step too; here that step is plain, so they and their momentum stay as they are. Its
slow weights have a rate of 1, which is no averaging, so there are none here. Its Fisher squares
gradients of batches; here, of samples, as in the paper. Defaults are that code's for 10 % of
CIFAR-10 (1500 iterations there are about 10 epochs); the retain steps' one-cycle schedule is ours.
BatchNorm's statistics see both sets.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.fisher import diagonal_fisher
from baselines.neggrad_plus import endless
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

    epochs: int = 10
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
    loss = _remembering(task, config, mask)
    return fine_tune(task, task.retain, epochs=config.epochs, lr=config.lr, loss=loss)


def salient(
    forget: Mapping[str, Tensor], retain: Mapping[str, Tensor], threshold: float
) -> dict[str, Tensor]:
    """Parameter → bool of its shape: where ``F_forget ≥ threshold · F_retain``."""
    tiny = 1e-15  # so that a weight of no use to either counts as balanced
    return {name: forget[name] + tiny >= threshold * (retain[name] + tiny) for name in forget}


def _remembering(
    task: Task, config: SfronConfig, mask: Mapping[str, Tensor]
) -> Callable[[nn.Module, Batch], Tensor]:
    stream = endless(task, task.forget)
    step = 0

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        nonlocal step
        if step % config.forget_every == 0:
            fade = (1 + math.cos(math.pi * batch.progress)) / 2
            forget_step(
                model,
                next(stream),
                mask,
                lr=config.lr * fade,
                alpha=config.alpha * fade,
                adaptivity=config.adaptivity,
                clip=config.clip,
            )
        step += 1
        return cross_entropy(model, batch)

    return loss


def forget_step(
    model: nn.Module,
    batch: Batch,
    mask: Mapping[str, Tensor],
    *,
    lr: float,
    alpha: float,
    adaptivity: float,
    clip: float,
) -> None:
    """Climbs the adaptive loss of the batch with the masked weights; nothing else moves."""
    weights = dict(model.named_parameters())
    climbed = alpha * adaptive_loss(model(batch.images), batch.labels, adaptivity)
    found = torch.autograd.grad(climbed, list(weights.values()))
    gradients = {name: gradient * mask[name] for name, gradient in zip(weights, found, strict=True)}
    norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    size = lr * (clip / (norm + 1e-6)).clamp(max=1)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.add_(size * gradients[name])


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
