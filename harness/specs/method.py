"""What an unlearning method is, and everything that it can see of a problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.specs.checks import (
    Flag,
    Function,
    OneOf,
    Several,
    Text,
    settle,
)
from harness.specs.configs import check_search, checked_config
from harness.specs.forgetting import KINDS
from harness.specs.names import check_name
from harness.specs.part import check_marks, idle
from harness.specs.scenario import Scenario
from harness.specs.search import Setting

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from harness.specs.data import Data


@dataclass(frozen=True, eq=False)
class Task:
    """Everything that a method can see, which excludes the test set and the retrained models."""

    model: nn.Module
    """The original model: the method's own copy, free to modify. It takes images in [0, 1]."""
    retain: Data
    """The part of the retain set that the scenario grants; may be empty."""
    forget: Data
    held_out: Data
    """Data that no model was trained on; usually empty."""
    untrained: Callable[[], nn.Module]
    """Builds a model of the same architecture, with a new random initialisation at each call."""
    scenario: Scenario
    generator: torch.Generator
    """The method's own stream of random numbers, on the CPU."""
    stored: Mapping[str, Tensor] = field(default_factory=dict)
    """What the method's ``at_training`` returned; empty if the method has none."""


@dataclass(frozen=True)
class Method:
    """An unlearning method: a function from a task and a config to a model."""

    name: str
    unlearn: Callable[[Task, Any], nn.Module]
    config: Any
    """A frozen dataclass: the default settings."""
    needs_retain: bool = True
    """False if the method also works without any retain data."""
    needs_held_out: bool = False
    defined_for: frozenset[str] = KINDS
    paper: str = ""
    search: Mapping[str, Setting] = field(default_factory=dict)
    """Setting → the values that tuning may try; if empty, the method runs at its defaults. Where a
    setting has no part, which its field's metadata says (``WITH_RETAIN``), it is not searched."""
    at_training: Callable[[nn.Module, Data], Mapping[str, Tensor]] | None = None
    """Computes statistics of the original model and its whole train set, stored when the model is
    trained. Pages mark such a method, because these statistics are unavailable once training is
    over."""

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
        check_marks(what, self.config)
        check_search(what, self.config, self.search)

    def searched(self, scenario: Scenario) -> dict[str, Setting]:
        """The search space without the settings that have no part in this scenario."""
        left_out = idle(self.config, scenario, self.search)
        return {name: each for name, each in self.search.items() if name not in left_out}

    def undefined_because(self, scenario: Scenario) -> str:
        """Why the method cannot run in this scenario; empty if it can."""
        if self.needs_retain and scenario.retain_access == 0:
            return "needs the retain set"
        if self.needs_held_out and scenario.held_out == 0:
            return "needs held-out data"
        if scenario.forget.kind not in self.defined_for:
            return f"is not defined for {scenario.forget.kind} forgetting"
        return ""
