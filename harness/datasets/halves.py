"""The random halves that the reference models of a pool are trained on, and what each forgets."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.datasets.splits import Split, forget_rows
from harness.errors import UserError
from harness.seeds import stream
from harness.specs.evidence import FORGET, OUT, RETAIN
from harness.specs.scenario import Replicate, Scenario
from harness.specs.shares import draw_share


def half_rows(n: int, half: int) -> Tensor:
    """The rows ``(n / 2,)`` of train and test set that this model of a pool is trained on.

    Models 2j and 2j + 1 share one random split into two halves. So every sample is in the training
    sets of exactly half of the models, of any even number, and a smaller pool is the beginning of a
    larger one.
    """
    order = torch.randperm(n, generator=stream(half // 2, "pool/halves"))
    first = half % 2 == 0
    return (order[: n // 2] if first else order[n // 2 :]).sort().values


def audit_rows(scenario: Scenario, labels: Tensor) -> Tensor:
    """What the scenario's forget rule selects of train and test set, given all labels ``(N,)``.

    It is the first replicate's draw. Raises UserError if the rule selects no such rows.
    """
    members = torch.arange(len(labels))
    return forget_rows(scenario, first_replicate(scenario), labels, members, ())


def first_replicate(scenario: Scenario) -> Replicate:
    """The replicate whose forget seed the audit samples and the ensembles use."""
    seed = scenario.crossed[0] if scenario.crossed else 0
    return Replicate(seed, seed)


def split_of_half(scenario: Scenario, half: int, labels: Tensor) -> Split:
    """The rows of train and test set that a method forgets and retains on this model of a pool.

    It forgets the audit samples that the model was trained on. Nothing is held out or tested.
    Raises UserError if that leaves nothing to forget or to retain.
    """
    forget, retain = _divided(scenario, half, len(labels), audit_rows(scenario, labels))
    access = stream(half, "pool/access")
    visible = draw_share(retain, scenario.retain_access, access)
    nothing = forget[:0]
    return Split(forget, retain, visible, nothing, nothing, nothing)


def states(scenario: Scenario, labels: Tensor, size: int) -> Tensor:
    """``(size, N)`` int8: what each sample is to each model of a pool: OUT, RETAIN or FORGET."""
    found = torch.full((size, len(labels)), OUT, dtype=torch.int8)
    audited = torch.zeros(len(labels), dtype=torch.bool)
    audited[audit_rows(scenario, labels)] = True
    for half in range(size):
        own = half_rows(len(labels), half)
        found[half, own] = torch.where(audited[own], FORGET, RETAIN).to(torch.int8)
    return found


def require_replays(scenario: Scenario, labels: Tensor, size: int) -> None:
    """Raises UserError unless each model of a pool has samples to forget and to retain."""
    audited = audit_rows(scenario, labels)
    for half in range(size):
        _divided(scenario, half, len(labels), audited)


def _divided(scenario: Scenario, half: int, n: int, audited: Tensor) -> tuple[Tensor, Tensor]:
    """What a method forgets and retains on this model; raises UserError if either is nothing."""
    own = half_rows(n, half)
    chosen = torch.isin(own, audited)
    forget, retain = own[chosen], own[~chosen]
    if not len(forget) or not len(retain):
        raise UserError(
            f"scenario {scenario.name!r}: pool model {half + 1} is trained on {len(own)} samples, "
            f"of which its forget rule selects {len(forget)}; a replay needs at least 1, and "
            f"another one to retain"
        )
    return forget, retain
