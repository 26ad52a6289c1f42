"""The forgetting quality of the NeurIPS 2023 challenge, with its null."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from harness.attacks.forgetting_quality import final_score, null, quality
from harness.plugins.hookspecs import hookimpl
from harness.protocols.ensembles import ensembles_of, margins_of, too_few_models
from harness.specs.evidence import Evidence, Labels, Outputs
from harness.specs.protocol import ENSEMBLES, Estimate, Metric, Protocol

IMAGES = 200
"""The most images of the forget set: the best rule takes 2 to 10 ms an image to find."""

RELABELLINGS = 3

FEWEST_MODELS = 6
"""Of each ensemble; with fewer there is no null to stand beside the value."""

METRICS = (
    Metric(
        "score",
        unit="",
        meaning="The forgetting quality of the NeurIPS 2023 challenge, in [0, 1]: how badly the "
        "best of many decision rules tells unlearned from retrained models, averaged over the "
        "forget set. Retraining itself has `null`, not 1.",
        shared=True,
    ),
    Metric(
        "null",
        unit="",
        meaning="`score` if the method were retraining: the same models, relabelled at random.",
        shared=True,
    ),
    Metric(
        "final",
        unit="",
        meaning="`score` times the retain and the test accuracy, each as a share of the retrained "
        "models'.",
        shared=True,
    ),
)


def measure(evidence: Evidence) -> dict[str, Estimate]:
    """H of two ensembles on the first replicate's forget set, its null, and the final score.

    H depends on the number of models: values of different numbers are not comparable. There is
    none with fewer than six models.

    Triantafillou et al. 2024, https://arxiv.org/abs/2406.09073
    """
    models = ensembles_of(evidence)
    if len(models.unlearned) < FEWEST_MODELS:
        return too_few_models(models, METRICS)
    labels = models.labels
    unlearned = margins_of(models.unlearned, labels, "forget", IMAGES)
    retrained = margins_of(models.retrained, labels, "forget", IMAGES)
    n = unlearned.shape[1]
    forgetting = quality(unlearned, retrained)
    expected = null(unlearned, retrained, relabellings=RELABELLINGS)
    accuracies = {
        f"{prefix}{name}": float(np.mean([_accuracy(each, labels, name) for each in side]))
        for prefix, side in (("", models.unlearned), ("retrained_", models.retrained))
        for name in ("retain", "test")
    }
    return {
        "score": Estimate(forgetting, n=n),
        "null": Estimate(expected.mean, n=n),
        "final": Estimate(final_score(forgetting, **accuracies), n=n),
    }


def _accuracy(outputs: Outputs, labels: Labels, name: str) -> float:
    logits, own = getattr(outputs, name), getattr(labels, name)
    return float((logits.argmax(dim=1) == own).float().mean())


@hookimpl
def unlearning_protocols() -> Iterable[Protocol]:
    """One protocol, ``forgetting-quality``."""
    return [
        Protocol(
            "forgetting-quality",
            version=1,
            metrics=METRICS,
            measure=measure,
            paper="https://arxiv.org/abs/2406.09073",
            needs=frozenset({ENSEMBLES}),
        )
    ]
