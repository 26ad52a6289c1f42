"""Planned runs, and the keys of their steps: hashes of everything that a result depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.records.lines import identity, plain
from harness.records.store import StepId
from harness.records.store_lines import MEASUREMENT, RUN
from harness.specs.protocol import Protocol
from harness.specs.scenario import (
    ORIGINAL,
    PAGE_ONLY,
    RETRAIN,
    RETRAIN_DRAWS,
    Replicate,
    Scenario,
)
from harness.version import CODE

MODEL, LOGITS, STACK = "models", "logits", "stacks"
KINDS = (MODEL, LOGITS, STACK, RUN, MEASUREMENT)
"""The kinds of step; each has a folder of this name in the store."""


@dataclass(frozen=True)
class PlannedRun:
    """A method with its settings in one replicate of a scenario."""

    scenario: Scenario
    replicate: Replicate
    method: str
    config: Any = None
    draw: int = 0
    """The number of the retrained model; 0 for every other method."""
    source: str = ""
    """The hash of the method's source; empty for the two references."""
    half: int | None = None
    """The number of the pool's model that it is, or that it starts from; None outside pools."""
    fingerprint: str = ""
    """The hash of the data set's contents."""
    build: str = ""
    """The backbone's name; for a plugin's, with the hash of its source."""
    class_name: str = ""
    """The name of the forgotten class, if the data set has one; not part of any key."""
    described: str = ""
    """A description of the forget set that names its classes; not part of any key."""
    chosen: str = ""
    """How the config was chosen; not part of any key."""
    tuning_passes: float = 0.0

    def __str__(self) -> str:
        if self.half is not None:
            what = "" if self.method == ORIGINAL else f"{self.method} · "
            return f"{what}pool model {self.half + 1} · {self.scenario.name}"
        draw = f" {self.draw + 1}" if self.method == RETRAIN else ""
        draw += f"/{RETRAIN_DRAWS}" if draw and self.draw < RETRAIN_DRAWS else ""
        seed, forget_seed = self.replicate.seed, self.replicate.forget_seed
        pair = "" if forget_seed == seed else f", forget seed {forget_seed}"
        return f"{self.method}{draw} · {self.scenario.name} · seed {seed}{pair}"

    @property
    def model(self) -> StepId:
        """The step that makes its model."""
        if self.method == ORIGINAL:
            return self.original
        return StepId(MODEL, self._retrained if self.method == RETRAIN else self._unlearned)

    @cached_property
    def original(self) -> StepId:
        """The step that trains the original model; its key does not depend on the forget set.

        In a pool it is the pool's model, which depends on data, backbone and recipe alone.
        """
        asked = {
            "code": CODE,
            "model": ORIGINAL,
            "data": self.fingerprint,
            "backbone": self.build,
            "stem": self.scenario.stem,
            "recipe": self.scenario.recipe,
        }
        if self.half is None:
            asked |= {"held out": self.scenario.held_out, "seed": self.replicate.seed}
        else:
            asked |= {"half": self.half}
        return StepId(MODEL, identity(asked))

    @cached_property
    def _retrained(self) -> str:
        """The key of a retrained model; it does not depend on what a method may see."""
        return identity(
            {
                "model": RETRAIN,
                "instead of": self.original.key,
                "forget": self.scenario.forget,
                "forget seed": self.replicate.forget_seed,
                "draw": self.draw,
            }
        )

    @cached_property
    def _unlearned(self) -> str:
        """The key of an unlearned model."""
        fine_tuning = self.scenario.fine_tuning
        return identity(
            {
                "model": self.method,
                "config": self.config,
                "source": self.source,
                "original": self.original.key,
                "forget": self.scenario.forget,
                "forget seed": self.replicate.forget_seed,
                "access": self.scenario.retain_access,
                **({"fine-tuning": fine_tuning} if fine_tuning else {}),
            }
        )

    @cached_property
    def logits(self) -> StepId:
        """The step that computes its model's logits on the data."""
        return StepId(LOGITS, identity({"logits of": self.model.key}))

    @cached_property
    def record(self) -> StepId:
        """The step that writes its record; its key, the run's id, does not depend on protocols."""
        key = identity(
            {
                "code": CODE,
                "data": self.fingerprint,
                "backbone": self.build,
                "scenario": problem_fields(self.scenario),
                "replicate": self.replicate,
                "method": self.method,
                "config": self.config,
                "source": self.source,
                "draw": self.draw,
            }
        )
        return StepId(RUN, key)


def recipe_of(run: PlannedRun) -> str:
    """A hash of what reference models must have in common with a run: data, network and recipe."""
    scenario = run.scenario
    return identity([run.fingerprint, run.build, scenario.stem, scenario.recipe])


def stack_of(logits: Sequence[StepId]) -> StepId:
    """The step that stacks the logits of several models into one array."""
    return StepId(STACK, identity({"stack of": [each.key for each in logits]}))


def measurement_of(record: StepId, protocol: Protocol, stacks: Sequence[StepId] = ()) -> StepId:
    """The step that applies a protocol to a recorded run, with the stacks that it needs."""
    own = {"run": record.key, "protocol": protocol.name, "version": protocol.version}
    added = {"stacks": [each.key for each in stacks]} if stacks else {}
    return StepId(MEASUREMENT, identity(own | added))


def problem_fields(scenario: Scenario) -> dict[str, Any]:
    """The fields of a scenario, except those that affect only its page."""
    fields = dict(plain(scenario))
    return {name: fields[name] for name in fields if name not in PAGE_ONLY}
