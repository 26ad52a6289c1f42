"""The nouns: frozen descriptions of scenarios, methods, protocols and what passes between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from harness.specs.augmentation import NO_AUGMENTATION, Augmentation
from harness.specs.checks import (
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Exactly,
    OneOf,
    Real,
    Several,
    Text,
    Whole,
    require_own_class,
    settle,
)
from harness.specs.forgetting import ForgetRule, Rule
from harness.specs.names import check_name

ORIGINAL, RETRAIN = "original", "retrain"
REFERENCES = (ORIGINAL, RETRAIN)
"""The two rows that the harness itself supplies in every scenario; they are never ranked."""

RETRAIN_DRAWS = 3
"""K: retrained models a replicate."""

Stem = Literal["own", "small"]
Schedule = Literal["one-cycle", "cosine", "constant"]


@dataclass(frozen=True)
class Recipe:
    """How the original and the retrained models are trained: SGD with momentum."""

    epochs: int
    lr: float
    """The peak of the one-cycle schedule."""
    batch: int = 64
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = "one-cycle"
    augmentation: Augmentation = field(default=NO_AUGMENTATION)

    def __post_init__(self) -> None:
        require_own_class(self, Recipe)
        settle(
            self,
            "Recipe",
            epochs=Whole(1),
            lr=POSITIVE,
            batch=Whole(1),
            momentum=Real(0, 1, below=True),
            weight_decay=NOT_NEGATIVE,
            schedule=OneOf(get_args(Schedule)),
            augmentation=Exactly((Augmentation,)),
        )


@dataclass(frozen=True)
class Scenario:
    """One unlearning problem; it has no seed."""

    name: str
    dataset: str
    backbone: str
    recipe: Recipe
    forget: ForgetRule
    retain_access: float = 1.0
    """Share of the retain set that a method sees: 0 means the forget set and the weights alone."""
    held_out: float = 0.0
    """Share of the train set that no model trains on and that a method may use."""
    stem: Stem = "own"
    """``small``: a 3×3 convolution of stride 1 without max-pool, for images of about 32 px."""
    mia: str = "loss-mia.auc"
    """``protocol.metric``: the membership inference attack that counts in the average gap."""
    replicates: int = 8
    tuning: float = 0.0
    """Share of the test set, of each class alike, that only tuning sees; pages report on the rest.
    A scenario that reserves none cannot be tuned on."""

    def __post_init__(self) -> None:
        check_name("scenario", self.name)
        require_own_class(self, Scenario)
        settle(
            self,
            f"scenario {self.name!r}",
            dataset=Text(),
            backbone=Text(),
            recipe=Exactly((Recipe,)),
            forget=Rule(),
            retain_access=SHARE,
            held_out=Real(0, 1, below=True),
            stem=OneOf(get_args(Stem)),
            mia=Text(),
            replicates=Whole(1),
            tuning=Real(0, 1, below=True),
        )
        if "" in self.mia.partition("."):
            raise ValueError(
                f"scenario {self.name!r}: mia must be protocol.metric, like loss-mia.auc; "
                f"got {self.mia!r}"
            )


@dataclass(frozen=True)
class Replicate:
    """One independent draw of original model, forget set and method stream."""

    seed: int
    forget_seed: int

    def __post_init__(self) -> None:
        settle(self, "Replicate", seed=Whole(0), forget_seed=Whole(0))


@dataclass(frozen=True)
class Suite:
    """A name for scenarios × methods, each scenario with its own number of replicates."""

    name: str
    scenarios: tuple[str, ...]
    methods: tuple[str, ...] = ()
    """Empty: every installed method."""

    def __post_init__(self) -> None:
        check_name("suite", self.name)
        settle(
            self,
            f"suite {self.name!r}",
            scenarios=Several(Text(), "scenarios' names", least=1),
            methods=Several(Text(), "methods' names"),
        )
