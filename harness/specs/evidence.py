"""The evidence that a run leaves, which protocols measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Outputs:
    """One model's logits, each ``(n, classes)`` float32."""

    forget: Tensor
    retain: Tensor
    test: Tensor


@dataclass(frozen=True, eq=False)
class Labels:
    """The recorded labels of the same rows, each ``(n,)`` int64."""

    forget: Tensor
    retain: Tensor
    test: Tensor


STORED = "stored"
"""The cost phase for the method's work during the original model's training."""


@dataclass(frozen=True)
class Cost:
    """The total cost of producing one model."""

    seconds: Mapping[str, int | float]
    """Seconds by phase, measured with the device synchronised."""
    passes: int | float
    """Floating-point work, in forward passes of one sample through the backbone."""
    peak_memory: int | None = None
    """Bytes on the GPU; None on a CPU, where one run's memory cannot be separated."""


OUT, RETAIN, FORGET = 0, 1, 2
"""What a sample is to a reference model: not trained on, trained on, or trained on and audited."""


@dataclass(frozen=True, eq=False)
class References:
    """A pool: K models, each trained on a random half of the N samples of train and test set.

    Every sample is in the halves of exactly K / 2 models. The N samples are the train set, followed
    by the test set.
    """

    logits: Tensor
    """``(K, N, classes)`` float16, or float32 where float16 would lose too much."""
    state: Tensor
    """``(K, N)`` int8: ``OUT``, ``RETAIN`` or ``FORGET``. The audit samples are those that the
    scenario's rule selects from all N; each is ``FORGET`` to the models that trained on it."""
    labels: Tensor
    """``(N,)`` int64."""
    forget: Tensor
    """``(n,)`` int64: the forget set's positions among the N samples, in the order of the logits of
    ``Outputs``."""
    retain: Tensor
    """The retain set's."""
    test: Tensor
    """The test set's, without the rows that are reserved for tuning."""
    everything: Tensor
    """``(N, classes)`` float32: the logits of the model under test, on all samples."""


@dataclass(frozen=True, eq=False)
class Replays:
    """The method, run on each model of a pool: it forgets the samples that are ``FORGET`` there.

    Of the original models it is what they are, and of retraining, models trained on what is
    ``RETAIN`` to each.
    """

    logits: Tensor
    """``(K, A, classes)`` float16 or float32, as in ``References``, on the A audit samples."""
    state: Tensor
    """``(K, A)`` int8: ``OUT`` or ``FORGET``."""
    labels: Tensor
    """``(A,)`` int64."""


@dataclass(frozen=True, eq=False)
class Ensembles:
    """N unlearned models beside N retrained ones, all of the first replicate's forget set.

    Each unlearned model comes from an original model of its own. Of retraining, they are N further
    retrained models, so that its row is what two ensembles of one law show.
    """

    unlearned: tuple[Outputs, ...]
    retrained: tuple[Outputs, ...]
    labels: Labels


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a protocol measures: one model beside models retrained without the forget set."""

    target: Outputs
    labels: Labels
    nonmembers: Tensor
    """``(m,)`` int64: rows of the test set with the class proportions of the forget set."""
    retrained: tuple[Outputs, ...]
    """The K retrained models; if the target is one of them, the other K - 1."""
    cost: Cost
    references: References | None = None
    """For protocols that need ``references``."""
    replays: Replays | None = None
    """For protocols that need ``replays``."""
    ensembles: Ensembles | None = None
    """For protocols that need ``ensembles``."""
