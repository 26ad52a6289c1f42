"""The published SVC attack on confidence: trained on retain and test set, applied to forget."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

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
    members = _confidence(logits.retain[:size], labels.retain[:size])
    nonmembers = _confidence(logits.test, labels.test)
    forget = _confidence(logits.forget, labels.forget)
    if not len(forget):
        return {"svc": proportion(0, 0)}
    features = np.concatenate([members, nonmembers])[:, None]
    classes = np.repeat([1, 0], [len(members), len(nonmembers)])
    from sklearn.svm import SVC

    attack = SVC(C=3, gamma="auto", kernel="rbf").fit(features, classes)
    predicted = attack.predict(forget[:, None])
    return {"svc": proportion(int(np.count_nonzero(predicted == 0)), len(predicted))}


def _confidence(logits: Tensor, labels: Tensor) -> NDArray[np.float64]:
    """``(n,)`` in [0, 1]: each row's probability of its own recorded label."""
    loss = F.cross_entropy(logits.double(), labels, reduction="none")
    confidence: NDArray[np.float64] = loss.neg().exp().cpu().numpy()
    return confidence


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
