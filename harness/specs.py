"""The nouns: frozen descriptions of scenarios, methods, protocols and what passes between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from harness.checks import (
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Exactly,
    Flag,
    Function,
    OneOf,
    OrNone,
    Real,
    Several,
    Text,
    Whole,
    require_own_class,
    settle,
)
from harness.configs import check_search, checked_config
from harness.data import NO_AUGMENTATION, Augmentation, Data
from harness.evidence import Protocol
from harness.forgetting import KINDS, RULES, ForgetRule
from harness.names import check_name
from harness.search import Setting

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
            forget=Exactly(RULES),
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


@dataclass(frozen=True, eq=False)
class Task:
    """All that a method sees. There is no test set and no retrained model in it."""

    model: nn.Module
    """The original model: the method's own copy, to change or to keep. Images in [0, 1] go in."""
    retain: Data
    """The part of the retain set that the scenario grants; it may be empty."""
    forget: Data
    held_out: Data
    """Data that no model was trained on; usually empty."""
    untrained: Callable[[], nn.Module]
    """A new model of the same architecture, freshly initialised, another one at each call."""
    scenario: Scenario
    generator: torch.Generator
    """The method's own stream of random numbers, on the CPU."""
    stored: Mapping[str, Tensor] = field(default_factory=dict)
    """What the method's ``at_training`` gave; empty for every other method."""


@dataclass(frozen=True)
class Method:
    """An unlearning method: a function from a task and a config to a model."""

    name: str
    unlearn: Callable[[Task, Any], nn.Module]
    config: Any
    """A frozen dataclass: the default settings."""
    needs_retain: bool = True
    """False: the method also works where the scenario grants no retain data."""
    needs_held_out: bool = False
    defined_for: frozenset[str] = KINDS
    paper: str = ""
    search: Mapping[str, Setting] = field(default_factory=dict)
    """Setting → what a tuner may try; a method without any runs at its defaults."""
    at_training: Callable[[nn.Module, Data], Mapping[str, Tensor]] | None = None
    """Statistics of the original model and its whole train set, stored when it was trained; a grade
    of its own: pages mark the method, since one that comes later cannot have them."""

    def __post_init__(self) -> None:
        check_name("method", self.name)
        what = f"method {self.name!r}"
        settle(
            self,
            what,
            unlearn=Function(),
            needs_retain=Flag(),
            needs_held_out=Flag(),
            defined_for=Several(OneOf(tuple(sorted(KINDS))), "kinds of forget set", least=1),
            paper=Text(empty=True),
            at_training=Function(optional=True),
        )
        object.__setattr__(self, "defined_for", frozenset(self.defined_for))
        object.__setattr__(self, "config", checked_config(what, self.config))
        check_search(what, self.config, self.search)

    def undefined_because(self, scenario: Scenario) -> str:
        """Why the method has no row in this scenario; empty where it has one."""
        if self.needs_retain and scenario.retain_access == 0:
            return "needs the retain set"
        if self.needs_held_out and scenario.held_out == 0:
            return "needs held-out data"
        if scenario.forget.kind not in self.defined_for:
            return f"is not defined for {scenario.forget.kind} forgetting"
        return ""


@dataclass(frozen=True)
class Backbone:
    """A network by name. What no plugin gives is built by timm."""

    name: str
    build: Callable[..., nn.Module]
    """``build(channels=…, classes=…, size=(h, w), stem=…)``; its input is normalised already."""

    def __post_init__(self) -> None:
        check_name("backbone", self.name)
        settle(self, f"backbone {self.name!r}", build=Function())


@dataclass(frozen=True)
class Dataset:
    """A train and a test set by name."""

    name: str
    load: Callable[[Path], tuple[Data, Data]]
    """From the folder of ``--data`` to (train, test), on the CPU."""
    source: str = ""
    channels: int | None = None
    """Of an image; needed only where ``(n, c, h, w)`` looks like ``(n, h, w, c)``."""

    def __post_init__(self) -> None:
        check_name("dataset", self.name)
        settle(
            self,
            f"dataset {self.name!r}",
            load=Function(),
            source=Text(empty=True),
            channels=OrNone(Whole(1)),
        )


Spec = Method | Backbone | Dataset | Protocol | Scenario | Suite


@dataclass(frozen=True)
class Catalog:
    """Every spec by name, made once in ``main()`` and passed along."""

    methods: Mapping[str, Method] = field(default_factory=dict)
    backbones: Mapping[str, Backbone] = field(default_factory=dict)
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    scenarios: Mapping[str, Scenario] = field(default_factory=dict)
    suites: Mapping[str, Suite] = field(default_factory=dict)
    origin: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(kind, name) → the plugin that gave it."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Plugin → why it was left out."""


@dataclass(frozen=True)
class FineTuning:
    """Settings for a config to inherit whose method fine-tunes with and without retain data."""

    epochs: int
    lr: float
    epochs_without_retain: int
    """Where no retain data is granted an epoch is short, and nothing holds the model."""
    lr_without_retain: float

    def course(self, task: Task) -> tuple[int, float]:
        """Epochs and learning rate for what the task grants."""
        if len(task.retain):
            return self.epochs, self.lr
        return self.epochs_without_retain, self.lr_without_retain
