"""The published SVC attack on confidence: trained on retain and test set, applied to forget."""

from __future__ import annotations

from collections.abc import Iterable

from harness.attacks.population import svc
from harness.attacks.signals import probability
from harness.plugins.hookspecs import hookimpl
from harness.protocols.estimates import proportion
from harness.specs.evidence import Evidence
from harness.specs.protocol import Estimate, Metric, Protocol


def measure(evidence: Evidence) -> dict[str, Estimate]:
    """The share of the forget set that a support-vector classifier calls non-members, in percent.

    It learns from this model's confidence in the recorded label. Members are the first
    ``len(test)`` rows of the retain set, in the order of the train set, or all if there are fewer;
    non-members are the whole test set. Nothing is random.

    SalUn's released code takes the same rows; Unlearn-Sparse, AMUN and arXiv 2605.31317 describe a
    random draw of as many. The two are alike where the train set is in no order, as torchvision's
    are. A ``folder:`` data set is sorted by class: if its retain set is larger than its test set,
    the members come from its first classes alone, and the score also reflects how confident the
    model is in these classes.
    """
    logits, labels = evidence.target, evidence.labels
    size = len(labels.test)
    if not size:
        return {"svc": Estimate(None, note="no test images")}
    members = probability(logits.retain[:size].cpu(), labels.retain[:size].cpu())
    nonmembers = probability(logits.test.cpu(), labels.test.cpu())
    forget = probability(logits.forget.cpu(), labels.forget.cpu())
    taken = svc(members, nonmembers, forget)
    return {"svc": proportion(int(taken.sum()), len(taken))}


@hookimpl
def unlearning_protocols() -> Iterable[Protocol]:
    """One protocol, ``confidence-mia``, as in Unlearn-Sparse and SalUn."""
    return [
        Protocol(
            "confidence-mia",
            version=1,
            metrics=(
                Metric(
                    "svc",
                    meaning="The share of forgotten images that a classifier, fitted to tell "
                    "retained from test images by the model's confidence, takes for unseen ones.",
                ),
            ),
            measure=measure,
            paper="https://arxiv.org/abs/2310.12508",
        )
    ]
