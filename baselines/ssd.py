"""SSD: dampen the weights that matter far more to the forget set than to the data as a whole.

Foster et al., AAAI 2024, https://arxiv.org/abs/2308.07707. With the diagonal empirical Fisher F of
the forget set f and of all data D, ``θ *= min(λ·F_D/F_f, 1)`` where ``F_f > α·F_D``; no training,
and BatchNorm's statistics stay.

F is by default that of the official code, which the published α = 10 and λ = 1, the defaults here,
are for (of a ViT that forgets a class α = 5): the mean over batches of the squared gradient of a
batch's mean loss. Where a class, or a part of one, is forgotten, a batch has 64 rows and D goes
class by class, the retain set before the forget set; otherwise a batch has 128 rows in random
order. The paper defines F by the gradient of
each sample, which is ``fisher = "sample"``. D holds the forget set, so that F_f/F_D is then at most
n_D/n_f: where the forget set is a tenth of the data or more, α = 10 selects nothing. The random
forgetting of the paper takes 100 rows. Deviations: the sizes of the batches differ by at most one,
where the code's last one is what is left; half a class is not among its problems.

``ssd`` takes as D the forget set and the retain data that is granted; ``ssd-stored`` takes F_D of
the whole train set and needs no retain data. It was stored when the original was trained, with both
kinds of batches, since the forget set was not known then; a third form, with single samples, would
add half as much work again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from baselines.parts.fisher import batch_fisher, diagonal_fisher
from harness import (
    ClassFraction,
    Data,
    Method,
    Span,
    Task,
    UserError,
    WholeClass,
    hookimpl,
    join,
    require_no_negative,
)

Fisher = Literal["batch", "sample"]
Batches = Literal["class", "random"]

OF_A_CLASS = frozenset({WholeClass.kind, ClassFraction.kind})
"""The kinds of forget set that the official code's loader for classes is for."""

CLASS_BATCH, RANDOM_BATCH = 64, 128
"""Rows of a batch where the rows of a class are forgotten, and otherwise."""


@dataclass(frozen=True)
class StoredConfig:
    """Settings of the dampening."""

    alpha: float = 10.0
    """How many times F_D a weight's F_f must be for the weight to be dampened."""
    dampening: float = 1.0
    """λ: below 1 the selected weights shrink further."""

    def __post_init__(self) -> None:
        require_no_negative(self)


@dataclass(frozen=True)
class SsdConfig(StoredConfig):
    """Settings of the dampening and of the Fisher information."""

    fisher: Fisher = "batch"
    """Whether F squares the gradients of batches, as the official code, or those of samples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fisher not in get_args(Fisher):
            raise ValueError(f"fisher must be one of {get_args(Fisher)}; got {self.fisher!r}")


def ssd(task: Task, config: SsdConfig) -> nn.Module:
    """The original, dampened by the Fisher of the forget set and of the granted data."""
    if config.fisher == "sample":
        sets = task.forget, join(task.retain, task.forget)
        forget, whole = (diagonal_fisher(task.model, data) for data in sets)
        return dampened(task.model, forget, whole, config)
    kind = _batches(task)
    forgotten, retained = (
        in_order(data, kind, task.generator) for data in (task.forget, task.retain)
    )
    forget = fisher(task.model, forgotten, kind)
    return dampened(task.model, forget, fisher(task.model, join(retained, forgotten), kind), config)


def ssd_stored(task: Task, config: StoredConfig) -> nn.Module:
    """The original, dampened by the Fisher of the forget set and the stored one."""
    if not task.stored:
        raise UserError(
            "ssd-stored needs the Fisher information that was stored with the original; "
            "there is none"
        )
    kind = _batches(task)
    forget = fisher(task.model, in_order(task.forget, kind, task.generator), kind)
    device = task.forget.device
    whole = {name: task.stored[f"{kind}.{name}"].to(device) for name in forget}
    return dampened(task.model, forget, whole, config)


def fisher(model: nn.Module, data: Data, kind: Batches) -> dict[str, Tensor]:
    """Parameter → the Fisher of the data, in batches of the kind's size."""
    return batch_fisher(model, data, batch=CLASS_BATCH if kind == "class" else RANDOM_BATCH)


def in_order(data: Data, kind: Batches, generator: torch.Generator) -> Data:
    """The rows class by class, each class in the data's order; or in random order."""
    if kind == "class":
        return data.select(data.labels.argsort(stable=True))
    return data.select(torch.randperm(len(data), generator=generator))


@torch.no_grad()
def dampened(
    model: nn.Module,
    forget: Mapping[str, Tensor],
    whole: Mapping[str, Tensor],
    config: StoredConfig,
) -> nn.Module:
    """The same model after ``θ *= min(λ·F_D/F_f, 1)`` where ``F_f > α·F_D``."""
    for name, weight in model.named_parameters():
        chosen = forget[name] > config.alpha * whole[name]  # so F_f > 0 there
        factor = (config.dampening * whole[name] / forget[name]).clamp(max=1)
        weight.mul_(torch.where(chosen, factor, 1.0))
    return model.eval()


def _batches(task: Task) -> Batches:
    return "class" if task.scenario.forget.kind in OF_A_CLASS else "random"


def _store(model: nn.Module, train_set: Data) -> Mapping[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        f"{kind}.{name}": value
        for kind in get_args(Batches)
        for name, value in fisher(model, in_order(train_set, kind, generator), kind).items()
    }


@hookimpl
def unlearning_methods() -> list[Method]:
    """SSD with the Fisher of the granted data, and with the one stored at training."""
    paper = "https://arxiv.org/abs/2308.07707"
    search = {"alpha": Span(3, 100, log=True), "dampening": Span(0.1, 1, log=True)}
    return [
        Method("ssd", ssd, SsdConfig(), paper=paper, search=search),
        Method(
            "ssd-stored",
            ssd_stored,
            StoredConfig(),
            needs_retain=False,
            paper=paper,
            search=search,
            at_training=_store,
        ),
    ]
