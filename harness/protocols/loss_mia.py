"""Membership inference by a threshold on the loss: forget set against test set."""

from __future__ import annotations

from collections.abc import Iterable

from harness.attacks.signals import log_probability
from harness.plugins.hookspecs import hookimpl
from harness.protocols.estimates import delong, tpr_at_fpr
from harness.specs.evidence import Evidence
from harness.specs.protocol import Estimate, Metric, Protocol

FPR = 0.01


def measure(evidence: Evidence) -> dict[str, Estimate]:
    """The attack's AUC and TPR, in percent; members are the forget set.

    Non-members are the test rows with the forget set's class proportions. An AUC below the
    retrained models' is over-forgetting, which gives the forget set away as well as one above.
    """
    logits, labels, rows = evidence.target, evidence.labels, evidence.nonmembers
    members = log_probability(logits.forget.cpu(), labels.forget.cpu())
    nonmembers = log_probability(logits.test[rows].cpu(), labels.test[rows].cpu())
    return {
        "auc": delong(members, nonmembers),
        "tpr@1%fpr": tpr_at_fpr(members, nonmembers, FPR),
    }


@hookimpl
def unlearning_protocols() -> Iterable[Protocol]:
    """One protocol, ``loss-mia``."""
    return [
        Protocol(
            "loss-mia",
            version=1,
            metrics=(
                Metric(
                    "auc",
                    meaning="The chance that an attacker who compares losses ranks a forgotten "
                    "image above a test image of the same classes; 50 is guessing.",
                ),
                Metric(
                    "tpr@1%fpr",
                    meaning="The share of forgotten images that this attacker finds while "
                    "mistaking 1% of the test images for images trained on; 1 is guessing.",
                ),
            ),
            measure=measure,
            paper="https://arxiv.org/abs/1709.01604",
        )
    ]
