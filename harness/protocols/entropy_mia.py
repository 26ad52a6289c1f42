"""Membership inference by a threshold on the modified entropy: forget set against test set."""

from __future__ import annotations

from collections.abc import Iterable

from harness.attacks.population import modified_entropy
from harness.plugins.hookspecs import hookimpl
from harness.protocols.estimates import delong
from harness.specs.evidence import Evidence
from harness.specs.protocol import Estimate, Metric, Protocol


def measure(evidence: Evidence) -> dict[str, Estimate]:
    """The attack's AUC, in percent; members are the forget set.

    Non-members are the same as in ``loss-mia``.
    """
    logits, labels, rows = evidence.target, evidence.labels, evidence.nonmembers
    members = modified_entropy(logits.forget.cpu(), labels.forget.cpu())
    nonmembers = modified_entropy(logits.test[rows].cpu(), labels.test[rows].cpu())
    return {"auc": delong(-members, -nonmembers)}


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
