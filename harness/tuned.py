"""Settings that were chosen by tuning: a readable file a scenario, with every trial in it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.shapes import require_type

FOLDER = "tuned"
"""Beside the pages."""


@dataclass(frozen=True)
class Trial:
    """One try of some settings."""

    settings: Mapping[str, Any]
    gap: float | None
    """Percentage points; none where it failed, diverged or went over the budget."""
    passes: float
    """Of all its runs together."""
    note: str = ""
    """Why it has no gap."""


@dataclass(frozen=True)
class Tuning:
    """How the settings of one method were chosen."""

    source: str
    """The hash of the method's source."""
    replicates: int
    """Original models that each trial was judged on."""
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial | None:
        """The trial of the smallest gap, the earliest of several; none where all failed."""
        there = [trial for trial in self.trials if trial.gap is not None]
        return min(there, key=lambda trial: trial.gap or 0.0, default=None)

    @property
    def passes(self) -> float:
        """What all trials took together."""
        return sum(trial.passes for trial in self.trials)

    def __str__(self) -> str:
        return f"tuned, {len(self.trials)} trials"

    def apply(self, config: Any) -> Any:
        """The config with the best settings.

        Raises ValueError or TypeError where they do not fit it any more.
        """
        return replace(config, **self.best.settings) if self.best else config


def read(folder: Path, scenario: str) -> dict[str, Tuning]:
    """Method → tuning; empty where the scenario has no file.

    Raises UserError for a file that is not one of these.
    """
    path = folder / f"{scenario}.json"
    if not path.exists():
        return {}
    try:
        return {name: _tuning(each) for name, each in json.loads(path.read_text("utf-8")).items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: not a file of tuned settings ({type(error).__name__}: {error}); restore it "
            f"from git, or remove it to run with defaults"
        ) from None


def write(folder: Path, scenario: str, tunings: Mapping[str, Tuning]) -> None:
    """Replaces the scenario's file by one rename."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{scenario}.json"
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    methods = [f" {json.dumps(name)}: {_text(tunings[name])}" for name in sorted(tunings)]
    draft.write_text("{\n" + ",\n".join(methods) + "\n}\n", encoding="utf-8")
    draft.replace(path)


def _text(tuning: Tuning) -> str:
    """A line a trial, for a reader's eye and for git's."""
    best = tuning.best
    head = {
        "settings": best.settings if best else {},
        "gap": best.gap if best else None,
        "source": tuning.source,
        "replicates": tuning.replicates,
    }
    facts = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    trials = ",\n".join(f"   {json.dumps(asdict(trial))}" for trial in tuning.trials)
    return "{\n" + ",\n".join(facts) + ',\n  "trials": [\n' + trials + "\n  ]\n }"


def _tuning(fields: Mapping[str, Any]) -> Tuning:
    trials = tuple(Trial(**each) for each in fields["trials"])
    tuning = Tuning(fields["source"], fields["replicates"], trials)
    require_type("tuning", tuning)
    return tuning
