"""Scenarios: training recipes, unlearning problems, their replicates, and suites."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from harness.specs.augmentation import NO_AUGMENTATION, Augmentation
from harness.specs.checks import (
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Exactly,
    Flag,
    OneOf,
    OrNone,
    Real,
    Several,
    Text,
    Whole,
    require_own_class,
    settle,
)
from harness.specs.forgetting import ForgetRule
from harness.specs.names import check_name
from harness.specs.pool_size import PoolSize
from harness.specs.recorded_rule import Rule

ORIGINAL, RETRAIN = "original", "retrain"
REFERENCES = (ORIGINAL, RETRAIN)
"""The two reference rows that the harness adds to every scenario; they are never ranked."""

RETRAIN_DRAWS = 3
"""K: the number of retrained models per replicate."""

Stem = Literal["own", "small"]
Schedule = Literal["one-cycle", "cosine", "step", "constant"]
Optimizer = Literal["sgd", "adamw"]

GAMMA = 0.1
"""The default factor of the step schedule."""

LATER = {"later": True}
"""Marks a field that was added later: at its default it is not part of a run's identity."""

PAGE_ONLY = ("mia", "replicates", "crossed", "tuned_as", "pool")
"""Fields of a scenario that affect no run, but only which runs there are and how they are shown."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Raises ValueError or TypeError for a setting out of range, and for incompatible settings.
    """

    epochs: int
    """At least 1 in a scenario; a method may fine-tune for 0."""
    lr: float
    """The learning rate: the peak of the one-cycle schedule, and the start of the others. Above 0
    in a scenario."""
    batch: int = 64
    momentum: float = 0.9
    """The momentum of SGD, or the first beta of AdamW."""
    weight_decay: float = 5e-4
    """SGD adds it to the gradient; AdamW applies it to the weights, times the learning rate."""
    schedule: Schedule = "one-cycle"
    augmentation: Augmentation = field(default=NO_AUGMENTATION)
    optimizer: Optimizer = field(default="sgd", metadata=LATER)
    """The methods' default rates are chosen for SGD; with AdamW a rate of 0.1 destroys a model."""
    nesterov: bool = field(default=False, metadata=LATER)
    """Nesterov momentum, for SGD only."""
    step_size: int = field(default=0, metadata=LATER)
    """For the step schedule: every ``step_size`` epochs the rate is multiplied by ``gamma``."""
    gamma: float = field(default=GAMMA, metadata=LATER)

    def __post_init__(self) -> None:
        require_own_class(self, Recipe)
        settle(
            self,
            "Recipe",
            epochs=Whole(0),
            lr=NOT_NEGATIVE,
            batch=Whole(1),
            momentum=Real(0, 1, below=True),
            weight_decay=NOT_NEGATIVE,
            schedule=OneOf(get_args(Schedule)),
            augmentation=Exactly((Augmentation,)),
            optimizer=OneOf(get_args(Optimizer)),
            nesterov=Flag(),
            step_size=Whole(0),
            gamma=POSITIVE,
        )
        self._check_nesterov()
        self._check_steps()

    def retimed(self, *, epochs: int, lr: float, schedule: Schedule, **fields: Any) -> Recipe:
        """The same recipe with another length, rate and schedule, and with these other fields.

        A field that is None stays as it is; of another schedule nothing stays.
        """
        own = {name: value for name, value in fields.items() if value is not None}
        if schedule != "step":
            own = {"step_size": 0, "gamma": GAMMA, **own}
        return replace(self, epochs=epochs, lr=lr, schedule=schedule, **own)

    def _check_nesterov(self) -> None:
        if self.nesterov and self.optimizer != "sgd":
            raise ValueError(
                f"Recipe: nesterov needs optimizer 'sgd'; got optimizer {self.optimizer!r}"
            )
        if self.nesterov and self.momentum == 0:
            raise ValueError("Recipe: nesterov needs a momentum above 0; got momentum 0.0")

    def _check_steps(self) -> None:
        if self.schedule == "step":
            if self.step_size == 0:
                raise ValueError(
                    "Recipe: schedule 'step' needs a step_size, in epochs; got step_size 0"
                )
        elif self.step_size or self.gamma != GAMMA:
            name, value = ("step_size", self.step_size) if self.step_size else ("gamma", self.gamma)
            raise ValueError(
                f"Recipe: {name} belongs to schedule 'step'; "
                f"got {name} {value} with schedule {self.schedule!r}"
            )


@dataclass(frozen=True)
class Scenario:
    """One unlearning problem, without any seed."""

    name: str
    dataset: str
    backbone: str
    recipe: Recipe
    forget: ForgetRule
    retain_access: float = 1.0
    """Share of the retain set that a method sees; at 0 it has only the forget set and the model."""
    held_out: float = 0.0
    """Share of the train set that no model trains on and that a method may use."""
    stem: Stem = "own"
    """``small``: a 3×3 convolution with stride 1 and no max-pooling, for images of about 32 px."""
    mia: str = "loss-mia.auc"
    """``protocol.metric``: the membership inference attack that enters the average gap."""
    replicates: int = 8
    tuning: float = 0.0
    """Share of the test set, taken equally from each class, that only tuning sees; pages report on
    the rest. At 0 the scenario cannot be used for tuning."""
    crossed: tuple[int, ...] = field(default=(), metadata=LATER)
    """Seeds that are crossed: each gives a model and a forget set, and each pair is a replicate.
    Empty: every replicate has a model and a forget set of its own."""
    fine_tuning: Recipe | None = field(default=None, metadata=LATER)
    """Another recipe from which methods inherit where they fine-tune: optimizer, batch, momentum,
    weight decay and augmentation. Its length, rate and schedule do not count."""
    tuned_as: str = field(default="", metadata=LATER)
    """The scenario whose tuned settings this one uses; empty: its own."""
    pool: int = field(default=0, metadata=LATER)
    """The number of reference models that its membership inference uses: even, and at least 4. At 0
    no protocol that needs any is measured, unless a command asks for it."""

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
            crossed=Several(Whole(0), "seeds", distinct=True),
            fine_tuning=OrNone(Exactly((Recipe,))),
            tuned_as=Text(empty=True),
            pool=PoolSize(),
        )
        if self.crossed and self.replicates != len(self.crossed) ** 2:
            raise ValueError(
                f"scenario {self.name!r}: {len(self.crossed)} crossed seeds give "
                f"{len(self.crossed) ** 2} replicates; got replicates {self.replicates}"
            )
        if self.recipe.epochs == 0 or self.recipe.lr == 0:
            raise ValueError(
                f"scenario {self.name!r}: recipe must train for at least 1 epoch at a rate above "
                f"0; got epochs {self.recipe.epochs} and lr {self.recipe.lr:g}"
            )
        self._check_mia()

    @property
    def inherited(self) -> Recipe:
        """The recipe from which methods inherit where they fine-tune."""
        return self.fine_tuning or self.recipe

    def _check_mia(self) -> None:
        if "" in self.mia.partition("."):
            raise ValueError(
                f"scenario {self.name!r}: mia must be protocol.metric, like loss-mia.auc; "
                f"got {self.mia!r}"
            )


@dataclass(frozen=True)
class Replicate:
    """One independent repetition: an original model, a forget set and a method's randomness."""

    seed: int
    forget_seed: int

    def __post_init__(self) -> None:
        settle(self, "Replicate", seed=Whole(0), forget_seed=Whole(0))


@dataclass(frozen=True)
class Suite:
    """A named set of scenarios × methods; each scenario keeps its own number of replicates."""

    name: str
    scenarios: tuple[str, ...]
    methods: tuple[str, ...] = ()
    """If empty, every installed method."""
    protocols: tuple[str, ...] = ()
    """Further protocols: those that need replays or ensembles are measured only if named."""

    def __post_init__(self) -> None:
        check_name("suite", self.name)
        settle(
            self,
            f"suite {self.name!r}",
            scenarios=Several(Text(), "scenario names", least=1),
            methods=Several(Text(), "method names"),
            protocols=Several(Text(), "protocol names"),
        )
