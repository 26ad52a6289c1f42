"""Accuracy on the class that the forget set belongs to, and on all other classes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from harness.plugins.hookspecs import hookimpl
from harness.protocols.estimates import proportion
from harness.specs.evidence import Evidence
from harness.specs.forgetting import CLASS, PARTIAL_CLASS
from harness.specs.protocol import Estimate, Metric, Protocol

METRICS = (
    Metric(
        "retain",
        meaning="The share of the affected class's images in the retain set that is classified "
        "correctly.",
    ),
    Metric(
        "test",
        meaning="The share of the affected class's images in the test set that is classified "
        "correctly.",
    ),
    Metric(
        "others-retain",
        meaning="The share of all other classes' images in the retain set that is classified "
        "correctly.",
    ),
    Metric(
        "others-test",
        meaning="The share of all other classes' images in the test set that is classified "
        "correctly.",
    ),
)


def measure(evidence: Evidence) -> dict[str, Estimate]:
    """Shares in percent (Wilson); the affected class is the label that all forget rows share.

    A share has no value if the split has no such image, as the retain set has none of a class that
    was forgotten as a whole. No metric has one if the forget rows have several labels, or none.
    """
    classes = torch.unique(evidence.labels.forget)
    if len(classes) != 1:
        note = f"the forget set has {len(classes)} classes" if len(classes) else "no forget images"
        return {metric.name: Estimate(None, note=note) for metric in METRICS}
    found = {}
    for name in ("retain", "test"):
        labels: Tensor = getattr(evidence.labels, name)
        correct = getattr(evidence.target, name).argmax(dim=1) == labels
        affected = labels == classes[0]
        found[name] = _share(correct[affected], f"no {name} image of the affected class")
        found[f"others-{name}"] = _share(correct[~affected], f"no {name} image of another class")
    return {metric.name: found[metric.name] for metric in METRICS}


def _share(correct: Tensor, if_empty: str) -> Estimate:
    if not len(correct):
        return Estimate(None, note=if_empty)
    return proportion(int(correct.sum()), len(correct))


@hookimpl
def unlearning_protocols() -> Iterable[Protocol]:
    """One protocol, ``affected-class``, for forget sets of a single class."""
    return [
        Protocol(
            "affected-class",
            version=1,
            metrics=METRICS,
            measure=measure,
            paper="https://arxiv.org/abs/2605.31317",
            defined_for=frozenset({CLASS, PARTIAL_CLASS}),
        )
    ]
