"""UNSIR: learn noise that the model finds least like the class, train on it, then repair.

Tarun et al., TNNLS 2023, https://arxiv.org/abs/2111.08947, for the forgetting of a class. Noise
images start from N(0, 1) and descend ``−CE(noise, class) + 0.1 · mean ‖noise‖²`` by Adam while the
model is fixed. Impair: an epoch of CE on these images, labelled with the class, and a part of the
retain set; repair: an epoch on that part alone. BatchNorm's statistics follow both.

Defaults are the code's: 40 steps of Adam at 0.1, rates 0.02 and 0.01, a fifth of the retain set
(1,000 of CIFAR-10's 5,000 a class). Deviations: the model is in eval mode while the noise is
learned (the code leaves it in training mode, so that the noise moves BatchNorm's statistics); the
noise lies in units of the forget set's own pixel mean and deviation, since our images are
normalised inside the model; it is one batch of the scenario's recipe, shared by all classes and
repeated to a set share of the retained rows instead of 20 times 256 images, which would drown a
small set; the retained part is drawn from all rows, not class by class; SGD with the recipe's
momentum, weight decay and augmentation replaces Adam in impair and repair, where the same rates
make other steps.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from baselines.parts.subsets import share_of
from harness import (
    Data,
    Method,
    Span,
    Task,
    WholeClass,
    as_float,
    fine_tune,
    hookimpl,
    join,
    require_no_negative,
)

PENALTY = 0.1
"""Weight of the noise's squared norm, as in the paper's code."""


@dataclass(frozen=True)
class UnsirConfig:
    """Settings of the noise, the impairment and the repair."""

    noise_steps: int = 40
    noise_lr: float = 0.1
    noise_share: float = 0.6
    """Noise images for each retained row in the impairment; the code has 0.57 for one class."""
    retain_share: float = 0.2
    """Of the retain set, drawn once."""
    impair_lr: float = 0.02
    repair_lr: float = 0.01

    def __post_init__(self) -> None:
        require_no_negative(self)
        if not 0 < self.retain_share <= 1:
            raise ValueError(f"retain_share must be in (0, 1]; got {self.retain_share}")


def unsir(task: Task, config: UnsirConfig) -> nn.Module:
    """The original after impairment by noise and repair."""
    retain = share_of(task, task.retain, config.retain_share)
    noise = noise_images(task, config)
    copies = torch.arange(max(1, round(config.noise_share * len(retain)))) % len(noise)
    impair = join(retain, noise.select(copies))
    fine_tune(task, impair, epochs=1, lr=config.impair_lr, schedule="constant")
    return fine_tune(task, retain, epochs=1, lr=config.repair_lr, schedule="constant")


def noise_images(task: Task, config: UnsirConfig) -> Data:
    """One batch of noise, labelled with the forgotten class, that the model finds least like it."""
    forget, n = task.forget, task.scenario.recipe.batch
    pixels = as_float(forget.images)
    mean = pixels.mean((0, 2, 3), keepdim=True)
    scale = pixels.std((0, 2, 3), keepdim=True)
    classes = torch.bincount(forget.labels).nonzero().flatten()
    labels = classes[torch.arange(n, device=forget.device) % len(classes)]
    noise = torch.randn(n, *forget.shape, generator=task.generator).to(forget.device)
    noise.requires_grad_()
    optimizer = Adam([noise], lr=config.noise_lr)
    task.model.eval()
    for _ in range(config.noise_steps):
        value = noise_loss(task.model, noise, mean + scale * noise, labels)
        (noise.grad,) = torch.autograd.grad(value, [noise])
        optimizer.step()
    images = (mean + scale * noise).detach()
    nowhere = torch.full_like(labels, -1)
    return Data(images, labels, nowhere, torch.zeros_like(labels, dtype=torch.bool))


def noise_loss(model: nn.Module, noise: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """``−CE(images, labels) + 0.1 · mean ‖noise‖²``; the images are the noise in pixels."""
    size = noise.square().flatten(1).sum(1).mean()
    return PENALTY * size - F.cross_entropy(model(images), labels)


@hookimpl
def unlearning_methods() -> list[Method]:
    """Impairment by noise, then repair, for whole classes."""
    return [
        Method(
            "unsir",
            unsir,
            UnsirConfig(),
            defined_for=frozenset({WholeClass.kind}),
            paper="https://arxiv.org/abs/2111.08947",
            search={
                "impair_lr": Span(1e-3, 0.3, log=True),
                "repair_lr": Span(1e-3, 0.3, log=True),
                "noise_share": Span(0.1, 2.0),
                "retain_share": Span(0.1, 1.0),
            },
        )
    ]
