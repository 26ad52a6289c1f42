"""Membership inference by a threshold on the modified entropy: forget set against test set."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from harness.plugins.hookspecs import hookimpl
from harness.protocols.estimates import delong
from harness.specs.evidence import Evidence
from harness.specs.protocol import Estimate, Metric, Protocol


def measure(evidence: Evidence) -> dict[str, Estimate]:
    """The attack's AUC, in percent; members are the forget set.

    Non-members are the same as in ``loss-mia``.
    """
    logits, labels, rows = evidence.target, evidence.labels, evidence.nonmembers
    members = modified_entropy(logits.forget, labels.forget).neg()
    nonmembers = modified_entropy(logits.test[rows], labels.test[rows]).neg()
    return {"auc": delong(members.cpu().numpy(), nonmembers.cpu().numpy())}


def modified_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """``(n,)`` float64, at least 0; it is 0 if the model is certain of the recorded label.

    ``−(1 − p_y)·log p_y − Σ_{c≠y} p_c·log(1 − p_c)``, where y is the row's own label. Many
    unlearning repositories share a version that applies every label of the batch to every row.
    """
    log_p = logits.double().log_softmax(dim=1)
    top = log_p.argmax(dim=1, keepdim=True)
    others = log_p.scatter(1, top, -torch.inf).logsumexp(dim=1, keepdim=True)
    # 1 - p is exact for p below a half; for the largest class it is the sum of all others
    log_rest = torch.log1p(-log_p.exp()).scatter(1, top, others)
    own = labels[:, None]
    right = (log_rest.exp() * log_p).gather(1, own)[:, 0]
    wrong = (log_p.exp() * log_rest).scatter(1, own, 0.0).sum(dim=1)
    return -(right + wrong)


@hookimpl
def unlearning_protocols() -> Iterable[Protocol]:
    """One protocol, ``entropy-mia``: Song and Mittal's modified entropy."""
    return [
        Protocol(
            "entropy-mia",
            version=1,
            metrics=(
                Metric(
                    "auc",
                    meaning="The chance that an attacker who compares modified entropies ranks a "
                    "forgotten image above a test image of the same classes; 50 is guessing.",
                ),
            ),
            measure=measure,
            paper="https://arxiv.org/abs/2003.10595",
        )
    ]
