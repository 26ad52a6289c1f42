"""Base classes for the configs of methods that train the original model further."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from harness.errors import UserError
from harness.specs.checks import NOT_NEGATIVE, POSITIVE, Flag, OneOf, OrNone, Real, Whole, settle
from harness.specs.method import Task
from harness.specs.part import WITH_RETAIN, WITHOUT_RETAIN
from harness.specs.scenario import LATER, Optimizer, Recipe, Scenario, Schedule


@dataclass(frozen=True)
class Training:
    """Base class for the config of a method that trains: ``recipe`` is the recipe that it says.

    Raises ValueError or TypeError for a setting out of range, and for incompatible settings. A
    subclass with a ``__post_init__`` of its own calls this one first.
    """

    epochs: int
    lr: float
    schedule: Schedule = field(default="one-cycle", kw_only=True, metadata=LATER)
    """Whatever the schedule of the scenario's recipe."""
    step_size: int | None = field(default=None, kw_only=True, metadata=LATER)
    """The step schedule needs it: every ``step_size`` epochs the rate is multiplied by
    ``step_gamma``."""
    step_gamma: float | None = field(default=None, kw_only=True, metadata=LATER)
    """None, here and below: the recipe's value, which is 0.1 unless the recipe says otherwise."""
    optimizer: Optimizer | None = field(default=None, kw_only=True, metadata=LATER)
    """One that is not the recipe's needs a ``weight_decay`` too: AdamW's usual 0.05 is much too
    large for SGD."""
    momentum: float | None = field(default=None, kw_only=True, metadata=LATER)
    weight_decay: float | None = field(default=None, kw_only=True, metadata=LATER)
    nesterov: bool | None = field(default=None, kw_only=True, metadata=LATER)

    def __post_init__(self) -> None:
        settle(
            self,
            type(self).__name__,
            schedule=OneOf(get_args(Schedule)),
            step_size=OrNone(Whole(1)),
            step_gamma=OrNone(POSITIVE),
            optimizer=OrNone(OneOf(get_args(Optimizer))),
            momentum=OrNone(Real(0, 1, below=True)),
            weight_decay=OrNone(NOT_NEGATIVE),
            nesterov=OrNone(Flag()),
        )
        self._check_steps()
        self._check_nesterov()

    def course(self, task: Task) -> tuple[int, float]:  # noqa: ARG002 - subclasses look at it
        """The epochs and the learning rate for this task."""
        return self.epochs, self.lr

    def recipe(self, task: Task) -> Recipe:
        """The recipe that the scenario hands to methods, with these settings in place of its own.

        Raises UserError if they do not fit it.
        """
        return self._recipe(task.scenario, *self.course(task))

    def require_fit(self, scenario: Scenario) -> None:
        """Raises UserError if the settings do not fit the scenario's recipe; no task is needed."""
        self._recipe(scenario, self.epochs, self.lr)

    def _recipe(self, scenario: Scenario, epochs: int, lr: float) -> Recipe:
        try:
            self._check_weight_decay(scenario.inherited)
            return scenario.inherited.retimed(
                epochs=epochs,
                lr=lr,
                schedule=self.schedule,
                step_size=self.step_size,
                gamma=self.step_gamma,
                optimizer=self.optimizer,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                nesterov=self.nesterov,
            )
        except (ValueError, TypeError) as error:
            raise UserError(
                f"scenario {scenario.name!r}: its recipe does not fit the method's settings "
                f"({error})"
            ) from None

    def _check_weight_decay(self, recipe: Recipe) -> None:
        if self.optimizer not in (None, recipe.optimizer) and self.weight_decay is None:
            raise ValueError(
                f"optimizer {self.optimizer!r} needs a weight_decay too; that of the recipe, "
                f"{recipe.weight_decay:g}, is for {recipe.optimizer!r}"
            )

    def _check_steps(self) -> None:
        if self.schedule == "step":
            if self.step_size is None:
                raise ValueError("schedule 'step' needs a step_size, in epochs; got step_size None")
            return
        for name in ("step_size", "step_gamma"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name} belongs to schedule 'step'; "
                    f"got {name} {getattr(self, name)} with schedule {self.schedule!r}"
                )

    def _check_nesterov(self) -> None:
        if self.nesterov and self.optimizer == "adamw":
            raise ValueError("nesterov needs optimizer 'sgd'; got optimizer 'adamw'")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0; got momentum 0.0")


@dataclass(frozen=True)
class FineTuning(Training):
    """Base class for the config of a method that fine-tunes with or without retain data."""

    epochs: int = field(metadata=WITH_RETAIN)
    lr: float = field(metadata=WITH_RETAIN)
    epochs_without_retain: int = field(metadata=WITHOUT_RETAIN)
    """Without retain data an epoch is short, and nothing keeps the model from degrading."""
    lr_without_retain: float = field(metadata=WITHOUT_RETAIN)

    def course(self, task: Task) -> tuple[int, float]:
        """The epochs and the learning rate for this task."""
        if len(task.retain):
            return self.epochs, self.lr
        return self.epochs_without_retain, self.lr_without_retain
