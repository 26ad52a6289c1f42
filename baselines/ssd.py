"""SSD: dampen the weights that matter far more to the forget set than to the data as a whole.

Foster et al., AAAI 2024, https://arxiv.org/abs/2308.07707. With the diagonal empirical Fisher F of
the forget set f and of all data D, ``θ *= min(λ·F_D/F_f, 1)`` where ``F_f > α·F_D``; no training,
and BatchNorm's statistics stay. F takes the gradient of each sample, as the paper defines it; the
official code squares the gradient of a batch, which its α = 10 and λ = 1, the defaults here, are
for. D holds the forget set, so F_f/F_D is at most n_D/n_f: where the forget set is a tenth of the
data or more, α = 10 selects nothing. ``ssd`` takes as D the forget set and the retain data that is
granted; ``ssd-stored`` takes F_D of the whole train set, stored when the original was trained, and
needs no retain data.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.parts.fisher import diagonal_fisher
from harness import Data, Method, Span, Task, UserError, hookimpl, require_no_negative


@dataclass(frozen=True)
class SsdConfig:
    """Settings of the dampening."""

    alpha: float = 10.0
    """How many times F_D a weight's F_f must be for the weight to be dampened."""
    dampening: float = 1.0
    """λ: below 1 the selected weights shrink further."""

    def __post_init__(self) -> None:
        require_no_negative(self)


def ssd(task: Task, config: SsdConfig) -> nn.Module:
    """The original, dampened by the Fisher of the forget set and of the granted data."""
    forget, retain = (diagonal_fisher(task.model, part) for part in (task.forget, task.retain))
    share = len(task.forget) / (len(task.forget) + len(task.retain))
    whole = {name: share * forget[name] + (1 - share) * retain[name] for name in forget}
    return dampened(task.model, forget, whole, config)


def ssd_stored(task: Task, config: SsdConfig) -> nn.Module:
    """The original, dampened by the Fisher of the forget set and the stored one."""
    if not task.stored:
        raise UserError(
            "ssd-stored needs the Fisher information that was stored with the original; "
            "there is none"
        )
    device = task.forget.device
    whole = {name: value.to(device) for name, value in task.stored.items()}
    return dampened(task.model, diagonal_fisher(task.model, task.forget), whole, config)


@torch.no_grad()
def dampened(
    model: nn.Module, forget: Mapping[str, Tensor], whole: Mapping[str, Tensor], config: SsdConfig
) -> nn.Module:
    """The same model after ``θ *= min(λ·F_D/F_f, 1)`` where ``F_f > α·F_D``."""
    for name, weight in model.named_parameters():
        chosen = forget[name] > config.alpha * whole[name]  # so F_f > 0 there
        factor = (config.dampening * whole[name] / forget[name]).clamp(max=1)
        weight.mul_(torch.where(chosen, factor, 1.0))
    return model.eval()


def _store(model: nn.Module, train_set: Data) -> Mapping[str, Tensor]:
    return diagonal_fisher(model, train_set)


@hookimpl
def unlearning_methods() -> list[Method]:
    """SSD with the Fisher of the granted data, and with the one stored at training."""
    paper = "https://arxiv.org/abs/2308.07707"
    search = {"alpha": Span(0.3, 10, log=True), "dampening": Span(0.01, 2, log=True)}
    return [
        Method("ssd", ssd, SsdConfig(), paper=paper, search=search),
        Method(
            "ssd-stored",
            ssd_stored,
            SsdConfig(),
            needs_retain=False,
            paper=paper,
            search=search,
            at_training=_store,
        ),
    ]
