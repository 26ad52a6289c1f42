"""Attack-R: where a sample's loss lies among those of models that were not trained on it."""

from __future__ import annotations

from collections.abc import Iterable

from harness.attacks.reference_losses import attack_r
from harness.attacks.signals import log_probability
from harness.plugins.hookspecs import hookimpl
from harness.protocols.estimates import delong
from harness.protocols.pooled import pooled, sides_of
from harness.specs.evidence import Evidence
from harness.specs.protocol import POOL, Estimate, Metric, Protocol


def measure(evidence: Evidence) -> dict[str, Estimate]:
    """The attack's AUC (DeLong), in percent; members are the forget set, as in ``rmia``.

    With few reference models many scores are tied.

    Ye et al. 2022, https://arxiv.org/abs/2111.09679
    """
    found = pooled(evidence)
    own = -log_probability(found.everything, found.labels)
    others = -log_probability(found.logits, found.labels)
    scores = sides_of(evidence, attack_r(own, others, found.inside))
    return {"ft-auc": delong(scores.forget, scores.nonmembers)}


@hookimpl
def unlearning_protocols() -> Iterable[Protocol]:
    """One protocol, ``attack-r``."""
    return [
        Protocol(
            "attack-r",
            version=1,
            metrics=(
                Metric(
                    "ft-auc",
                    meaning="The chance that Attack-R, which compares the loss on an image with "
                    "the losses of models not trained on it, ranks a forgotten image above a test "
                    "image of the same classes; 50 is guessing.",
                ),
            ),
            measure=measure,
            paper="https://arxiv.org/abs/2111.09679",
            needs=frozenset({POOL}),
        )
    ]
