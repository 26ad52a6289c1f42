"""LiRA: how much likelier a sample's margin is for models trained on it than for others."""

from __future__ import annotations

from collections.abc import Iterable

from harness.attacks.lira import offline, online
from harness.plugins.hookspecs import hookimpl
from harness.protocols.estimates import delong, tpr_at_fpr
from harness.protocols.pooled import margins_of, sides_of
from harness.protocols.score_summaries import summarise_scores
from harness.specs.evidence import Evidence
from harness.specs.protocol import POOL, Estimate, Metric, Protocol
from harness.specs.score_summary import ScoreSummary

RANGE = -12.0, 12.0
"""The histograms' edges, in nats: few log-likelihood ratios lie outside."""

METRICS = (
    Metric(
        "ft-auc",
        meaning="The chance that LiRA, which asks whether the model's margin fits reference models "
        "trained on the image or the others, ranks a forgotten image above a test image of the "
        "same classes; 50 is guessing, and below 50 is over-forgetting.",
    ),
    Metric(
        "ft-tpr@1%fpr",
        meaning="The share of forgotten images that LiRA finds while mistaking 1% of the test "
        "images for images trained on; 1 is guessing.",
    ),
    Metric(
        "ft-tpr@0.1%fpr",
        meaning="The share of forgotten images that LiRA finds while mistaking 0.1% of the test "
        "images for images trained on; 0.1 is guessing.",
    ),
    Metric(
        "ft-auc-offline",
        meaning="`ft-auc` of the attack that has only reference models that were not trained on "
        "the image.",
    ),
)


def measure(evidence: Evidence) -> dict[str, Estimate]:
    """AUC (DeLong) and TPR, in percent; members are the forget set, as in ``rmia``.

    The laws are Student's below 64 reference models: predictions of a normal-inverse-gamma prior
    around the variance within images. From 64 on they are normal, with each image's own variance.

    Carlini et al. 2022, https://arxiv.org/abs/2112.03570; Student's law:
    https://arxiv.org/abs/2603.11799
    """
    target, references, inside = margins_of(evidence)
    scores = sides_of(evidence, online(target, references, inside))
    outside = sides_of(evidence, offline(target, references, inside))
    return {
        "ft-auc": delong(scores.forget, scores.nonmembers),
        "ft-tpr@1%fpr": tpr_at_fpr(scores.forget, scores.nonmembers, 0.01),
        "ft-tpr@0.1%fpr": tpr_at_fpr(scores.forget, scores.nonmembers, 0.001),
        "ft-auc-offline": delong(outside.forget, outside.nonmembers),
    }


def summarise(evidence: Evidence) -> ScoreSummary:
    """The log-likelihood ratios of forget set and non-members."""
    scores = sides_of(evidence, online(*margins_of(evidence)))
    return summarise_scores(scores.forget, scores.nonmembers, *RANGE)


@hookimpl
def unlearning_protocols() -> Iterable[Protocol]:
    """One protocol, ``lira``."""
    return [
        Protocol(
            "lira",
            version=1,
            metrics=METRICS,
            measure=measure,
            paper="https://arxiv.org/abs/2112.03570",
            needs=frozenset({POOL}),
            summarise=summarise,
        )
    ]
