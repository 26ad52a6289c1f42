"""AMUN's variants: examples alone, a mask, an L1 penalty, another model's examples, fresh ones.

Ebrahimpour-Boroojeny, Sundaram, Chandrasekaran, ICML 2025, https://arxiv.org/abs/2503.00917
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amun_plugin import attack
from amun_plugin.method import PAPER, SEARCH, AmunConfig, Mixture, mixture
from baselines.parts.penalty import penalised
from baselines.parts.saliency import restoring, saliency_mask
from harness import (
    ALWAYS,
    NEVER,
    Batch,
    Method,
    Span,
    Task,
    as_float,
    fine_tune,
    hookimpl,
    join,
)


def _refuse_changed(config: AmunConfig, *names: str) -> None:
    """Raises ValueError for a changed setting that has no effect on the variant."""
    for name in names:
        found = getattr(config, name)
        own = getattr(type(config), name)
        if found != own:
            raise ValueError(
                f"{name} has no effect on this variant; got {found!r}; leave it at {own!r}"
            )


@dataclass(frozen=True)
class AmunAdversarialConfig(AmunConfig):
    """AMUN's settings; only the adversarial examples are learned, whatever data is granted."""

    epochs: int = field(default=4, metadata=ALWAYS)
    lr: float = field(default=0.01, metadata=ALWAYS)
    epochs_without_retain: int = field(default=20, metadata=NEVER)
    lr_without_retain: float = field(default=0.003, metadata=NEVER)
    mixture: Mixture = field(default="R+A", metadata=NEVER)
    mixture_without_retain: Literal["F+A", "A"] = field(default="A", metadata=NEVER)

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_changed(
            self, "mixture", "mixture_without_retain", "epochs_without_retain", "lr_without_retain"
        )

    def course(self, task: Task) -> tuple[int, float]:  # noqa: ARG002 - it is one for all tasks
        """The same epochs and rate with and without retain data."""
        return self.epochs, self.lr


def amun_adversarial(task: Task, config: AmunAdversarialConfig) -> nn.Module:
    """The original, fine-tuned on the adversarial examples alone.

    What the authors' code calls *advonly* is R+A where retain data is granted: the mixture of
    ``amun`` itself.
    """
    alone = replace(task, retain=task.retain.select(torch.arange(0)))
    return fine_tune(task, mixture(alone, config), recipe=config.recipe(task))


@dataclass(frozen=True)
class AmunSalunConfig(AmunConfig):
    """AMUN's settings and the mask's."""

    ratio: float = 0.5
    """Share of the weights that may change."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.ratio <= 1:
            raise ValueError(f"ratio must be in (0, 1]; got {self.ratio}")


def amun_salun(task: Task, config: AmunSalunConfig) -> nn.Module:
    """AMUN on only those weights that matter most to the forget set's loss.

    The authors' code masks gradients, so weight decay still changes the other weights; here they
    stay as they are.
    """
    mask = saliency_mask(task.model, task.forget, config.ratio, batch=task.scenario.recipe.batch)
    return fine_tune(
        task,
        mixture(task, config),
        recipe=config.recipe(task),
        after_step=restoring(task.model, mask),
    )


@dataclass(frozen=True)
class AmunL1Config(AmunConfig):
    """AMUN's settings and the penalty's."""

    gamma: float = 5e-4
    """The penalty's weight at the start."""


def amun_l1(task: Task, config: AmunL1Config) -> nn.Module:
    """AMUN with l1-sparse's fading penalty; the authors' own schedule compounds by mistake."""
    return fine_tune(
        task,
        mixture(task, config),
        recipe=config.recipe(task),
        loss=penalised(config.gamma),
    )


@dataclass(frozen=True)
class AmunTransferredConfig(AmunConfig):
    """AMUN's settings and the other model's."""

    share: float = 0.1
    """Share of the recipe's epochs for which the other model is trained; at least one epoch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be in (0, 1]; got {self.share}")


def amun_transferred(task: Task, config: AmunTransferredConfig) -> nn.Module:
    """AMUN on the examples and labels of another model, trained from scratch on all granted data.

    Deviation: the authors use another fully trained original model. Here it is trained for a share
    of the recipe's epochs, and its cost counts.
    """
    recipe = task.scenario.recipe
    other = fine_tune(
        task,
        join(task.retain, task.forget),
        model=task.untrained(),
        epochs=max(1, round(config.share * recipe.epochs)),
        lr=recipe.lr,
    )
    return fine_tune(
        task,
        mixture(replace(task, model=other), config),
        recipe=config.recipe(task),
    )


@dataclass(frozen=True)
class AmunAdaptiveConfig(AmunConfig):
    """AMUN's settings; the mixture is R+A, or A where no retain data is granted."""

    epochs_without_retain: int = 8
    """Each epoch has an attack of its own."""
    mixture: Mixture = field(default="R+A", metadata=NEVER)
    mixture_without_retain: Literal["F+A", "A"] = field(default="A", metadata=NEVER)

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_changed(self, "mixture", "mixture_without_retain")


def amun_adaptive(task: Task, config: AmunAdaptiveConfig) -> nn.Module:
    """AMUN on R+A, or A alone, with new examples every epoch, found on the current model.

    The paper's AMUN-A is another thing. In a sequence of requests it attacks once a request, the
    model that the earlier requests left, where plain AMUN takes all examples from the original; for
    a single request the two are the same. (Its released code goes back to the original's examples
    after a request's first epoch, by mistake.)
    """
    clean = replace(
        task.forget,
        images=as_float(task.forget.images),
        augment=torch.zeros_like(task.forget.augment),
    )
    return fine_tune(
        task,
        join(task.retain, clean) if len(task.retain) else clean,
        recipe=config.recipe(task),
        loss=Refreshed(task, config),
    )


class Refreshed:
    """The cross-entropy, with each forget image replaced by its example of the current epoch.

    An image without an example in an epoch is left out of that epoch's loss.
    """

    def __init__(self, task: Task, config: AmunConfig) -> None:
        self._forget = task.forget
        self._config = config
        index = torch.cat([task.retain.index, task.forget.index])
        self._place = torch.full((int(index.max()) + 1,), -1, device=index.device)
        self._place[task.forget.index] = torch.arange(len(task.forget), device=index.device)
        self._epoch = -1

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """The mean over the rows of the batch that are not left out."""
        if batch.epoch != self._epoch:
            self._epoch = batch.epoch
            self._refresh(model)
        place = self._place[batch.index]
        mine = place >= 0
        images = torch.where(mine[:, None, None, None], self._images[place], batch.images)
        labels = torch.where(mine, self._labels[place], batch.labels)
        counts = ~mine | self._ok[place]
        losses = F.cross_entropy(model(images), labels, reduction="none")
        return (losses * counts).sum() / counts.sum().clamp(min=1)

    def _refresh(self, model: nn.Module) -> None:
        images = as_float(self._forget.images)
        with torch.autocast(images.device.type, enabled=False):
            found = attack(model, images, self._forget.labels, self._config.attack_settings())
        self._images = found.x
        self._labels = found.label
        self._ok = found.ok


@hookimpl
def unlearning_methods() -> list[Method]:
    """The five variants."""
    variants = [
        Method(
            "amun-adversarial",
            amun_adversarial,
            AmunAdversarialConfig(),
            search={"epochs": Span(1, 20), "lr": Span(1e-4, 0.1, log=True)},
        ),
        Method(
            "amun-salun",
            amun_salun,
            AmunSalunConfig(),
            search={**SEARCH, "ratio": Span(0.1, 0.9)},
        ),
        Method(
            "amun-l1",
            amun_l1,
            AmunL1Config(),
            search={**SEARCH, "gamma": Span(1e-5, 1e-2, log=True)},
        ),
        Method("amun-transferred", amun_transferred, AmunTransferredConfig(), search=SEARCH),
        Method(
            "amun-adaptive",
            amun_adaptive,
            AmunAdaptiveConfig(),
            search={
                **SEARCH,
                "epochs": Span(1, 3),
                "epochs_without_retain": Span(1, 10),
                "closest_steps": Span(3, 6),
            },
        ),
    ]
    return [replace(each, needs_retain=False, paper=PAPER) for each in variants]
