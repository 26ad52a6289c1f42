"""KLOM: how far the margins of unlearned models are from retrained ones, image by image."""

from __future__ import annotations

from collections.abc import Iterable

from harness.attacks.klom import klom, null, summary
from harness.plugins.hookspecs import hookimpl
from harness.protocols.ensembles import Split, ensembles_of, margins_of, too_few_models
from harness.specs.evidence import Evidence
from harness.specs.protocol import ENSEMBLES, Estimate, Metric, Protocol

SETS: tuple[Split, ...] = ("forget", "retain", "test")

IMAGES = 2000
"""The most images of a split: its mean is precise enough, and the null takes a second."""

FEWEST_MODELS = 4
"""Of each ensemble; with fewer there is no null to stand beside the value."""

METRICS = (
    *(
        Metric(
            name,
            unit="nats",
            meaning=f"How far the margins of unlearned models are from those of retrained ones: "
            f"the Kullback-Leibler divergence, averaged over the {name} set, or over "
            f"{IMAGES:,} images of it. Two ensembles of "
            f"retrained models have `null-{name}`, not 0.",
            shared=True,
        )
        for name in SETS
    ),
    *(
        Metric(
            f"null-{name}",
            unit="nats",
            meaning=f"`{name}` if the method were retraining: the same models, relabelled at "
            f"random. The end of its interval is the 95% quantile.",
            shared=True,
        )
        for name in SETS
    ),
)


def measure(evidence: Evidence) -> dict[str, Estimate]:
    """The mean of KLOM over each set, in nats, and its null at the same number of models.

    The models are those of the first replicate's forget set, so a method has one value. There is
    none with fewer than four models.

    Georgiev et al. 2024, https://arxiv.org/abs/2410.23232
    """
    models = ensembles_of(evidence)
    if len(models.unlearned) < FEWEST_MODELS:
        return too_few_models(models, METRICS)
    found: dict[str, Estimate] = {}
    for name in SETS:
        unlearned = margins_of(models.unlearned, models.labels, name, IMAGES)
        retrained = margins_of(models.retrained, models.labels, name, IMAGES)
        n = unlearned.shape[1]
        if not n:
            nothing = Estimate(None, note=f"no {name} images")
            found |= {name: nothing, f"null-{name}": nothing}
            continue
        expected = null(unlearned, retrained)
        found[name] = Estimate(summary(klom(unlearned, retrained)).mean, n=n)
        high = max(expected.high, expected.mean)
        found[f"null-{name}"] = Estimate(expected.mean, 0.0, high, n)
    return {metric.name: found[metric.name] for metric in METRICS}


@hookimpl
def unlearning_protocols() -> Iterable[Protocol]:
    """One protocol, ``klom``."""
    return [
        Protocol(
            "klom",
            version=1,
            metrics=METRICS,
            measure=measure,
            paper="https://arxiv.org/abs/2410.23232",
            needs=frozenset({ENSEMBLES}),
        )
    ]
