"""U-LiRA: membership inference by an attacker who knows the unlearner and can replay it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from harness.attacks.signals import logit_scaling
from harness.attacks.ulira import Scored, ulira
from harness.plugins.hookspecs import hookimpl
from harness.protocols.estimates import (
    clustered_auc,
    clustered_equivalence,
    tpr_at_fpr,
)
from harness.protocols.score_summaries import summarise_scores
from harness.specs.evidence import Evidence
from harness.specs.protocol import REPLAYS, Estimate, Metric, Protocol
from harness.specs.score_summary import ScoreSummary

RANGE = -12.0, 12.0

METRICS = (
    Metric(
        "auc",
        meaning="The chance that U-LiRA, which runs the method itself on the models of a pool, "
        "ranks an image that a model forgot above one that it never saw; 50 is guessing. The "
        "attacked models are those of the pool, each by the others.",
        shared=True,
    ),
    Metric(
        "equivalence",
        unit="p",
        goal="low",
        meaning="The p value of the hypothesis that `auc` is 2 points or more away from 50; below "
        "0.05, the method is equivalent to one that leaves an attacker at guessing.",
        shared=True,
    ),
    Metric(
        "tpr@1%fpr",
        meaning="The share of forgotten images that U-LiRA finds while mistaking 1% of the images "
        "never seen; 1 is guessing.",
        shared=True,
    ),
)


def measure(evidence: Evidence) -> dict[str, Estimate]:
    """AUC and TPR, in percent, over all pairs of a pool's model and an audit sample.

    Members are the samples that the model was trained on and then forgot, non-members those that
    it was not trained on. Both are the same images, since each is forgotten by half of the models.
    The model under attack is never among those that the laws are fitted to.

    Kurmanji et al. 2024, https://arxiv.org/abs/2403.01218
    """
    found = _scored(evidence)
    members, nonmembers = found.scores[found.members], found.scores[~found.members]
    own = (found.scores, found.members, found.models, found.samples)
    return {
        "auc": clustered_auc(*own),
        "equivalence": clustered_equivalence(*own).estimate(),
        "tpr@1%fpr": tpr_at_fpr(members, nonmembers, 0.01),
    }


def summarise(evidence: Evidence) -> ScoreSummary:
    """The log-likelihood ratios of forgotten and of unseen samples."""
    found = _scored(evidence)
    return summarise_scores(found.scores[found.members], found.scores[~found.members], *RANGE)


def _scored(evidence: Evidence) -> Scored:
    replays = evidence.replays
    if replays is None:
        raise ValueError("the evidence has no replays; the protocol must list them in needs")
    margins = logit_scaling(replays.logits.numpy(), replays.labels.numpy())
    return ulira(margins, replays.state.numpy().astype(np.int8))


@hookimpl
def unlearning_protocols() -> Iterable[Protocol]:
    """One protocol, ``u-lira``."""
    return [
        Protocol(
            "u-lira",
            version=1,
            metrics=METRICS,
            measure=measure,
            paper="https://arxiv.org/abs/2403.01218",
            needs=frozenset({REPLAYS}),
            summarise=summarise,
        )
    ]
