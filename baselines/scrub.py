"""SCRUB: part from the original on the forget set, stay near it on the retain set; SCRUB+R rewinds.

Kurmanji et al., NeurIPS 2023, https://arxiv.org/abs/2302.09880. The original is the teacher. Each
of the first ``msteps`` epochs begins with one epoch that climbs ``T² · KL(teacher ‖ student)`` on
the forget set; every epoch ends with one that descends ``α · T² · KL + γ · CE`` on the retain set.
SCRUB+R keeps a checkpoint before the first epoch, which is the original, and after each. The last
model's error on held-out data, each class weighted by its share of the forget set, is the
reference. The checkpoint whose forget error is nearest to it is returned; of several, the earliest.

Defaults are the code's: its large-scale notebook's for SCRUB, its attack notebook's for SCRUB+R.
The learning rate falls to a tenth after epochs 3, 5 and 9, as there. Deviations: both halves have
the scenario's batch (there 256 rows of the retain set and 512 of the forget set, so fewer steps);
the student may see augmented images where the code augments none, and the teacher's logits are
those of images without; momentum is reset at each half epoch; weights are not smoothed, which never
takes effect in the code either. The code's reference is the error on held-out data of the forget
set's classes; the weights make it fit a set of several classes. Where the original is nearest, the
code chooses it but has not saved it, and so stops, or loads an older run's file. BatchNorm's
statistics follow both halves. Without BatchNorm and augmentation the first ascent starts where the
divergence is flat, so that only weight decay moves it: the second ascent does the work.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.parts.distillation import by_row, divergence
from harness import (
    Batch,
    Data,
    Method,
    Span,
    Task,
    UserError,
    fine_tune,
    hookimpl,
    predict,
    require_no_negative,
)

LR_FALLS = (3, 5, 9)
"""Epochs after which the learning rate falls to a tenth."""


@dataclass(frozen=True)
class ScrubConfig:
    """Settings of the training."""

    epochs: int = 3
    lr: float = 5e-4
    msteps: int = 2
    """Epochs that begin with an ascent on the forget set."""
    alpha: float = 0.001
    """Weight of the divergence on the retain set."""
    gamma: float = 0.99
    """Weight of the cross-entropy on the retain set."""
    temperature: float = 4.0

    def __post_init__(self) -> None:
        require_no_negative(self)
        if self.temperature == 0:
            raise ValueError("temperature must be positive; got 0")


def scrub(task: Task, config: ScrubConfig) -> nn.Module:
    """The original after all epochs."""
    for _ in scrubbing(task, config):
        pass
    return task.model.eval()


def scrub_rewound(task: Task, config: ScrubConfig) -> nn.Module:
    """The checkpoint that errs on the forget set as the last one does on unseen data like it."""
    states, errors = [], []
    for model in chain([task.model], scrubbing(task, config)):
        states.append(copy.deepcopy(model.state_dict()))
        errors.append(float(_wrong(model, task.forget).mean()))
    reference = reference_error(task.model, task.forget, task.held_out)
    task.model.load_state_dict(states[nearest(errors, reference)])
    return task.model.eval()


def scrubbing(task: Task, config: ScrubConfig) -> Iterator[nn.Module]:
    """The task's model after each epoch."""
    forget, retain = (
        _by_teacher(task.model, data, config.temperature) for data in (task.forget, task.retain)
    )

    def climb(model: nn.Module, batch: Batch) -> Tensor:
        return -forget(model(batch.images), batch)

    def descend(model: nn.Module, batch: Batch) -> Tensor:
        logits = model(batch.images)
        apart = config.alpha * retain(logits, batch)
        return apart + config.gamma * F.cross_entropy(logits, batch.labels)

    for epoch in range(config.epochs):
        lr = config.lr * 0.1 ** sum(epoch >= end for end in LR_FALLS)
        if epoch < config.msteps:
            fine_tune(task, task.forget, epochs=1, lr=lr, schedule="constant", loss=climb)
        yield fine_tune(task, task.retain, epochs=1, lr=lr, schedule="constant", loss=descend)


def reference_error(model: nn.Module, forget: Data, held_out: Data) -> float:
    """The error on held-out data whose classes have the weights they have in the forget set.

    Classes of the forget set without held-out data are left out. Raises UserError if all are.
    """
    wrong = _wrong(model, held_out)
    classes = int(max(forget.labels.max(), held_out.labels.max())) + 1
    wanted, there = (torch.bincount(part.labels, minlength=classes) for part in (forget, held_out))
    weights = (wanted / there)[held_out.labels]
    if not weights.any():
        raise UserError("scrub-r needs held-out data of the forget set's classes; there is none")
    return float((weights * wrong).sum() / weights.sum())


def nearest(errors: list[float], reference: float) -> int:
    """The position of the error nearest to the reference; of several, the first."""
    return min(range(len(errors)), key=lambda at: abs(errors[at] - reference))


def _by_teacher(
    model: nn.Module, data: Data, temperature: float
) -> Callable[[Tensor, Batch], Tensor]:
    """How far a student's logits are from those that the model gives now."""
    table = by_row(data, predict(model, data))
    return lambda logits, batch: divergence(table[batch.index], logits, temperature=temperature)


def _wrong(model: nn.Module, data: Data) -> Tensor:
    """1 for each row ``(n,)`` that the model gets wrong, else 0."""
    return (predict(model, data).argmax(1) != data.labels).float()


@hookimpl
def unlearning_methods() -> list[Method]:
    """SCRUB, and SCRUB with a rewind to the best of its checkpoints."""
    paper = "https://arxiv.org/abs/2302.09880"
    search = {
        "epochs": Span(1, 4),
        "lr": Span(1e-4, 0.1, log=True),
        "msteps": Span(1, 3),
        "alpha": Span(1e-3, 1.0, log=True),
    }
    return [
        Method("scrub", scrub, ScrubConfig(), paper=paper, search=search),
        Method(
            "scrub-r",
            scrub_rewound,
            ScrubConfig(epochs=5, msteps=3, alpha=0.5, gamma=1.0),
            needs_held_out=True,
            paper=paper,
            search=search,
        ),
    ]
