"""Accuracy on the forget, the retain and the test set."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from harness.plugins.hookspecs import hookimpl
from harness.protocols.estimates import proportion
from harness.specs.evidence import Evidence
from harness.specs.protocol import Estimate, Metric, Protocol


def measure(evidence: Evidence) -> dict[str, Estimate]:
    """The share of rows whose largest logit is the recorded label's, in percent (Wilson)."""
    logits, labels = evidence.target, evidence.labels
    return {
        "forget": _accuracy(logits.forget, labels.forget),
        "retain": _accuracy(logits.retain, labels.retain),
        "test": _accuracy(logits.test, labels.test),
    }


def _accuracy(logits: Tensor, labels: Tensor) -> Estimate:
    return proportion(int((logits.argmax(dim=1) == labels).sum()), len(labels))


@hookimpl
def unlearning_protocols() -> Iterable[Protocol]:
    """One protocol, ``accuracy``."""
    return [
        Protocol(
            "accuracy",
            version=1,
            metrics=tuple(
                Metric(name, meaning=f"The share of the {name} set that is classified correctly.")
                for name in ("forget", "retain", "test")
            ),
            measure=measure,
        )
    ]
