"""The last word on each example is the caller's own model; what it refutes is mended, or let go."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amun_plugin.adversarial.caller import Caller
from amun_plugin.adversarial.logits import is_wrong
from amun_plugin.adversarial.samples import Samples
from amun_plugin.adversarial.vectors import column

EXTENSIONS = tuple(1 + 0.002 * 2**k for k in range(9))
"""How far along its ray a refuted point is moved, as shares of its distance."""
HALVINGS = 5


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the caller's model says of some rows' points."""

    x: Tensor
    """``(m, *s)``: the points, some moved on."""
    label: Tensor
    """``(m,)`` int64."""
    ok: Tensor
    """``(m,)`` bool: wrong by more than rounding."""
    forwards: Tensor
    """``(m,)`` int32."""


def verify(caller: Caller, samples: Samples, x: Tensor) -> Verdict:
    """Asks about all points, and moves the refuted ones on along their ray until they are wrong."""
    logits = caller.logits(x)
    verdict = Verdict(
        x=x.clone(),
        label=logits.argmax(1),
        ok=is_wrong(logits, samples.labels, caller.rounding),
        forwards=torch.ones_like(samples.labels, dtype=torch.int32),
    )
    refuted = (~verdict.ok).nonzero().flatten()
    if len(refuted):
        _mend(caller, verdict, refuted, samples.at(refuted))
    return verdict


def _mend(caller: Caller, verdict: Verdict, rows: Tensor, samples: Samples) -> None:
    """Extends by growing steps until wrong, then halves the last step back towards the start."""
    clean, labels = samples.clean, samples.labels
    away = verdict.x[rows] - clean
    right = torch.ones(len(rows), device=clean.device)
    wrong = torch.full_like(right, torch.inf)

    def ask(open_rows: Tensor, share: Tensor) -> None:
        at = open_rows.nonzero().flatten()
        if not len(at):
            return
        points = (clean[at] + column(share[at], away) * away[at]).clamp(*samples.bounds)
        logits = caller.logits(points)
        verdict.forwards[rows[at]] += 1
        hit = is_wrong(logits, labels[at], caller.rounding)
        wrong[at[hit]] = share[at[hit]]
        right[at[~hit]] = share[at[~hit]]
        verdict.x[rows[at[hit]]] = points[hit]
        verdict.label[rows[at[hit]]] = logits.argmax(1)[hit]
        verdict.ok[rows[at[hit]]] = True

    for extension in EXTENSIONS:
        ask(wrong.isinf(), torch.full_like(right, extension))
    for _ in range(HALVINGS):
        ask(wrong.isfinite(), (right + wrong) / 2)
