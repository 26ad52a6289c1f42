"""The evidence of a pool as arrays, and an attack's scores by split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.attacks.signals import logit_scaling
from harness.specs.evidence import OUT, Evidence

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pooled:
    """Logits of a model and of the reference models of a pool, on all N samples."""

    everything: NDArray[np.float32]
    """``(N, classes)``: the model under test."""
    logits: NDArray[np.float16 | np.float32]
    """``(K, N, classes)``: the reference models."""
    labels: NDArray[np.int64]
    """``(N,)``."""
    inside: NDArray[np.bool_]
    """``(K, N)``: whether the reference model was trained on the sample."""


@dataclass(frozen=True, eq=False)
class Sides:
    """Scores by split, each ``(n,)``."""

    forget: Array
    retain: Array
    test: Array
    nonmembers: Array
    """The part of ``test`` with the class proportions of the forget set."""


def pooled(evidence: Evidence) -> Pooled:
    """The arrays of a protocol that needs references; raises ValueError without them."""
    references = evidence.references
    if references is None:
        raise ValueError("the evidence has no references; the protocol must list them in needs")
    return Pooled(
        references.everything.numpy(),
        references.logits.numpy(),
        references.labels.numpy(),
        (references.state != OUT).numpy(),
    )


def sides_of(evidence: Evidence, scores: Array) -> Sides:
    """The scores ``(N,)`` of all samples, by split."""
    references = evidence.references
    assert references is not None  # the scores come from them
    test = scores[references.test.numpy()]
    return Sides(
        scores[references.forget.numpy()],
        scores[references.retain.numpy()],
        test,
        test[evidence.nonmembers.numpy()],
    )


def margins_of(evidence: Evidence) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Of the model, of the references, and whether these were trained on the sample."""
    found = pooled(evidence)
    return (
        logit_scaling(found.everything, found.labels),
        logit_scaling(found.logits, found.labels),
        found.inside,
    )
