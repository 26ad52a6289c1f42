"""Which rows a replicate forgets, retains, shows to a method, holds out and attacks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.errors import UserError
from harness.forgetting import ClassFraction, GivenRows, RandomFraction, WholeClass
from harness.seeds import stream
from harness.specs import Replicate, Scenario


@dataclass(frozen=True, eq=False)
class Split:
    """Rows in ascending order, int64, on the CPU."""

    forget: Tensor
    retain: Tensor
    visible: Tensor
    """The part of the retain set that a method sees."""
    held_out: Tensor
    test: Tensor
    """Rows of the test set that are reported: all but those for tuning."""
    nonmembers: Tensor
    """Positions in ``test``."""


def split(scenario: Scenario, replicate: Replicate, train: Tensor, test: Tensor) -> Split:
    """The rows of one replicate, from the labels ``(n,)`` of the train and the test set.

    Raises UserError where the scenario asks for rows or labels that the data set lacks.
    """
    train, test = train.cpu(), test.cpu()
    rows = torch.arange(len(train))
    held_out = _draw(rows, scenario.held_out, stream(replicate.seed, "held-out"))
    member = torch.ones(len(train), dtype=torch.bool)
    member[held_out] = False
    forget = _forget(scenario, replicate, train, rows[member])
    member[forget] = False
    retain = rows[member]
    if len(forget) == 0 or len(retain) == 0:
        raise UserError(
            f"scenario {scenario.name!r}: to forget {scenario.forget} leaves {len(forget)} rows to "
            f"forget and {len(retain)} to retain; both must be at least 1"
        )
    visible = _draw(retain, scenario.retain_access, stream(replicate.forget_seed, "access"))
    reported = torch.ones(len(test), dtype=torch.bool)
    reported[tuning_rows(scenario.tuning, test)] = False
    (rows,) = reported.nonzero(as_tuple=True)
    drawn = stream(replicate.forget_seed, "non-members")
    nonmembers = class_matched(train[forget], test[rows], drawn)
    return Split(forget, retain, visible, held_out, rows, nonmembers)


def tuning_rows(share: float, test: Tensor) -> Tensor:
    """The rows of ``test`` labels that only tuning sees: a share of each class, one fixed draw."""
    generator = stream(0, "tuning")
    classes = int(test.max()) + 1 if len(test) else 0
    parts = [_draw((test == label).nonzero()[:, 0], share, generator) for label in range(classes)]
    return torch.cat([test.new_empty(0), *parts]).sort().values


def training_rows(scenario: Scenario, replicate: Replicate, n: int) -> Tensor:
    """What the original model is trained on: all rows but those held out."""
    held_out = _draw(torch.arange(n), scenario.held_out, stream(replicate.seed, "held-out"))
    kept = torch.ones(n, dtype=torch.bool)
    kept[held_out] = False
    return torch.arange(n)[kept]


def class_matched(forget: Tensor, test: Tensor, generator: torch.Generator) -> Tensor:
    """The largest draw of rows of ``test`` labels with the class proportions of ``forget`` labels.

    Empty where a class of the forget set has no test image at all.
    """
    classes = int(max(forget.max(), test.max() if len(test) else forget.max())) + 1
    wanted = torch.bincount(forget, minlength=classes)
    there = torch.bincount(test, minlength=classes)
    scale = float((there[wanted > 0] / wanted[wanted > 0]).min())
    parts = []
    for label in wanted.nonzero().flatten().tolist():
        rows = (test == label).nonzero().flatten()
        size = min(round(scale * int(wanted[label])), len(rows))
        parts.append(rows[torch.randperm(len(rows), generator=generator)[:size]])
    return torch.cat(parts).sort().values


def _forget(scenario: Scenario, replicate: Replicate, labels: Tensor, members: Tensor) -> Tensor:
    generator = stream(replicate.forget_seed, "forget")
    match scenario.forget:
        case RandomFraction(fraction):
            return _draw(members, fraction, generator)
        case WholeClass(label):
            return _of_class(scenario, labels, members, label)
        case ClassFraction(label, fraction):
            return _draw(_of_class(scenario, labels, members, label), fraction, generator)
        case GivenRows(rows):
            given = torch.tensor(sorted(set(rows)), dtype=torch.int64)
            if len(given) and not 0 <= int(given[0]) <= int(given[-1]) < len(labels):
                raise UserError(
                    f"scenario {scenario.name!r}: given rows must be in [0, {len(labels)}); "
                    f"got {int(given[0])} to {int(given[-1])}"
                )
            return given[torch.isin(given, members)]


def _of_class(scenario: Scenario, labels: Tensor, members: Tensor, label: int) -> Tensor:
    if label not in labels:
        raise UserError(
            f"scenario {scenario.name!r} forgets class {label}, which data set "
            f"{scenario.dataset!r} lacks; its classes are 0 to {int(labels.max())}"
        )
    return members[labels[members] == label]


def _draw(rows: Tensor, share: float, generator: torch.Generator) -> Tensor:
    if share >= 1:
        return rows
    order = torch.randperm(len(rows), generator=generator)
    return rows[order[: round(share * len(rows))]].sort().values
