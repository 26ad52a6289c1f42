"""RMIA: how much likelier the model finds a label than the reference models of a pool do."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from harness.attacks.references import reference_signal
from harness.attacks.rmia import amun, log_ratio
from harness.attacks.signals import log_probability
from harness.plugins.hookspecs import hookimpl
from harness.protocols.estimates import delong, equivalence, tpr_at_fpr
from harness.protocols.pooled import pooled, sides_of
from harness.protocols.score_summaries import summarise_scores
from harness.specs.evidence import Evidence
from harness.specs.protocol import POOL, Estimate, Metric, Protocol
from harness.specs.score_summary import ScoreSummary

RANGE = -12.0, 4.0
"""The histograms' edges, in nats: few log-ratios lie outside."""

METRICS = (
    Metric(
        "ft-auc",
        meaning="The chance that RMIA, which compares the model's confidence in a label with that "
        "of reference models, ranks a forgotten image above a test image of the same classes; 50 "
        "is guessing, and below 50 is over-forgetting.",
    ),
    Metric(
        "ft-equivalence",
        unit="p",
        goal="low",
        meaning="The p value of the hypothesis that `ft-auc` is 2 points or more away from 50; it "
        "takes about 1,130 images on either side to reject it.",
    ),
    Metric(
        "ft-tpr@1%fpr",
        meaning="The share of forgotten images that RMIA finds while mistaking 1% of the test "
        "images for images trained on; 1 is guessing.",
    ),
    Metric(
        "ft-tpr@0.1%fpr",
        meaning="The share of forgotten images that RMIA finds while mistaking 0.1% of the test "
        "images for images trained on; 0.1 is guessing.",
    ),
    Metric(
        "fr-auc",
        meaning="The chance that RMIA ranks a retained image above a forgotten one.",
    ),
    Metric(
        "rt-auc",
        meaning="The chance that RMIA ranks a retained image above a test image.",
    ),
    Metric(
        "ft-auc-amun",
        meaning="`ft-auc` with the score of AMUN's released evaluation: the share of all other "
        "images whose ratio, of a Taylor softmax with a margin, is less than half as large.",
    ),
)


def measure(evidence: Evidence) -> dict[str, Estimate]:
    """AUC (DeLong) and TPR, in percent, of the log-ratio; members are the forget set.

    The signal is the softmax at temperature 1, and p(x) the mean over all K reference models, half
    of which were trained on x. Non-members are the same as in ``loss-mia``: test images are in the
    pool like train images, so retraining has an expected AUC of 50. ``fr-auc`` and ``rt-auc`` have
    retain rows as their members; there the target is what retraining has, not 50.

    Zarifzadeh et al. 2024, https://arxiv.org/abs/2312.03262
    """
    scores = sides_of(evidence, _log_ratios(evidence))
    references = pooled(evidence)
    published = sides_of(
        evidence, amun(references.everything, references.logits, references.labels)
    )
    return {
        "ft-auc": delong(scores.forget, scores.nonmembers),
        "ft-equivalence": equivalence(scores.forget, scores.nonmembers).estimate(),
        "ft-tpr@1%fpr": tpr_at_fpr(scores.forget, scores.nonmembers, 0.01),
        "ft-tpr@0.1%fpr": tpr_at_fpr(scores.forget, scores.nonmembers, 0.001),
        "fr-auc": delong(scores.retain, scores.forget),
        "rt-auc": delong(scores.retain, scores.test),
        "ft-auc-amun": delong(published.forget, published.nonmembers),
    }


def summarise(evidence: Evidence) -> ScoreSummary:
    """The log-ratios of forget set and non-members."""
    scores = sides_of(evidence, _log_ratios(evidence))
    return summarise_scores(scores.forget, scores.nonmembers, *RANGE)


def _log_ratios(evidence: Evidence) -> NDArray[np.float64]:
    """``(N,)``: of all samples of train and test set."""
    references = pooled(evidence)
    known = reference_signal(log_probability(references.logits, references.labels))
    return log_ratio(log_probability(references.everything, references.labels), known)


@hookimpl
def unlearning_protocols() -> Iterable[Protocol]:
    """One protocol, ``rmia``."""
    return [
        Protocol(
            "rmia",
            version=1,
            metrics=METRICS,
            measure=measure,
            paper="https://arxiv.org/abs/2312.03262",
            needs=frozenset({POOL}),
            summarise=summarise,
        )
    ]
