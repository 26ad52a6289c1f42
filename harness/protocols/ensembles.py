"""The evidence of ensembles as margins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.attacks.signals import logit_scaling
from harness.specs.evidence import Ensembles, Evidence, Labels, Outputs
from harness.specs.protocol import Estimate, Metric

Split = Literal["forget", "retain", "test"]


def ensembles_of(evidence: Evidence) -> Ensembles:
    """The ensembles of a protocol that needs them; raises ValueError without them."""
    if evidence.ensembles is None:
        raise ValueError("the evidence has no ensembles; the protocol must list them in needs")
    return evidence.ensembles


def too_few_models(models: Ensembles, metrics: Iterable[Metric]) -> dict[str, Estimate]:
    """No value of any metric, with the number of models as the reason."""
    n = len(models.unlearned)
    return {metric.name: Estimate(None, note=f"not measurable at N = {n}") for metric in metrics}


def margins_of(
    models: Sequence[Outputs], labels: Labels, which: Split, most: int
) -> NDArray[np.float64]:
    """``(N, n)``: log p_y − log Σ_{c≠y} p_c of N models on the n images of a split.

    Of a split with more than ``most`` images it takes a random draw, always the same.
    """
    own = getattr(labels, which).numpy()
    every = [getattr(outputs, which).numpy() for outputs in models]
    if len(own) > most:
        rows = np.sort(np.random.default_rng(0).choice(len(own), most, replace=False))
        own, every = own[rows], [logits[rows] for logits in every]
    return logit_scaling(np.stack(every), own)
