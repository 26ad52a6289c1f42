"""Settings that were chosen by tuning: a readable file a scenario, with every trial in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock

from harness.errors import UserError
from harness.records.lines import identity, plain
from harness.specs.checks import NOT_NEGATIVE, OrNone, settle
from harness.specs.names import check_name
from harness.specs.scenario import Scenario

FOLDER = "tuned"
"""Beside the pages."""

NO_PART = ("name", "dataset", "replicates")
"""What of a scenario a tuning does not depend on; the data's fingerprint stands for the data."""


ODD = (ValueError, TypeError, KeyError, AttributeError)
"""Raised for an invalid entry."""

OF = ", of "
"""What follows it in ``Tuning.chosen`` is what the tuning was of, where that is not the present."""


@dataclass(frozen=True)
class Trial:
    """One try of some settings."""

    settings: Mapping[str, str | int | float | bool | None]
    gap: float | None
    """Percentage points; none where it failed, diverged or went over the budget."""
    passes: float
    """Of all its runs together."""
    note: str = ""
    """Why it has no gap."""

    def __post_init__(self) -> None:
        settle(self, "trial", gap=OrNone(NOT_NEGATIVE), passes=NOT_NEGATIVE)


@dataclass(frozen=True)
class Tuning:
    """How the settings of one method were chosen."""

    source: str
    """The hash of the method's source."""
    replicates: int
    """Original models that each trial was judged on."""
    trials: tuple[Trial, ...]
    problem: str = ""
    """What ``problem_of`` gave; empty in files of versions before it."""

    def __post_init__(self) -> None:
        if not self.trials or self.replicates < 1:
            raise ValueError("expected one trial or more, on one replicate or more")

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
        return f"tuned, {len(self.trials)} trial{'s' * (len(self.trials) > 1)}"

    def chosen(self, source: str, problem: str) -> str:
        """What a row says of its settings whose method and problem have these hashes now."""
        stale = ["source"] * (source != self.source)
        stale += ["definition"] * (self.problem not in ("", problem))
        words = [f"an earlier {' and '.join(stale)}"] * bool(stale)
        words += ["an unknown definition"] * (not self.problem)
        return f"{self}{OF}{' and '.join(words)}" if words else str(self)

    def apply(self, config: Any) -> Any:
        """The config with the best settings.

        Raises ValueError or TypeError where they do not fit it any more.
        """
        return replace(config, **self.best.settings) if self.best else config


@dataclass(frozen=True)
class Unread:
    """A method's entry that this version cannot read; a file that is written keeps it."""

    entry: Any
    reason: str


def problem_of(scenario: Scenario, fingerprint: str, build: str) -> str:
    """The hash of all that a tuning's gaps depend on, but for the method and the seeds.

    That is the scenario's definition, the content of its data and the source of its backbone.
    """
    parts = {name: value for name, value in plain(scenario).items() if name not in NO_PART}
    return identity({**parts, "data": fingerprint, "backbone": build})


def read(folder: Path, scenario: str) -> dict[str, Tuning | Unread]:
    """Method → tuning; empty where the scenario has no file.

    Raises UserError for a file that is not one of these.
    """
    path = folder / f"{scenario}.json"
    try:
        text = path.read_text("utf-8")
        entries = json.loads(text, object_pairs_hook=_once, parse_constant=_finite)
        return {name: _entry(name, each) for name, each in entries.items()}
    except FileNotFoundError:
        return {}
    except (OSError, RecursionError, *ODD) as error:
        raise UserError(
            f"{path}: not a file of tuned settings ({type(error).__name__}: {error}); restore it "
            f"from git, or remove it to run with defaults"
        ) from None


def write(folder: Path, scenario: str, tunings: Mapping[str, Tuning]) -> None:
    """Puts these methods' entries into the scenario's file, by one rename.

    All other entries stay as they are then, whoever wrote them. Raises UserError where nothing can
    be written there, also for no entry.
    """
    with _writing(folder), FileLock(folder / f".{scenario}.lock"):
        if not tunings:
            return
        entries = {**read(folder, scenario), **tunings}
        methods = [f" {json.dumps(name)}: {_text(entries[name])}" for name in sorted(entries)]
        path = folder / f"{scenario}.json"
        draft = path.with_name(f".{path.name}.draft")
        draft.write_text("{\n" + ",\n".join(methods) + "\n}\n", encoding="utf-8")
        draft.replace(path)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}") from None


def _text(tuning: Tuning | Unread) -> str:
    """A line a trial, for a reader's eye and for git's."""
    if isinstance(tuning, Unread):
        return json.dumps(tuning.entry, indent=1).replace("\n", "\n ")
    best = tuning.best
    head = {
        "settings": best.settings if best else {},
        "gap": best.gap if best else None,
        "source": tuning.source,
        **({"problem": tuning.problem} if tuning.problem else {}),
        "replicates": tuning.replicates,
    }
    facts = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    trials = ",\n".join(f"   {json.dumps(asdict(trial))}" for trial in tuning.trials)
    return "{\n" + ",\n".join(facts) + ',\n  "trials": [\n' + trials + "\n  ]\n }"


def _entry(name: str, entry: Any) -> Tuning | Unread:
    try:
        check_name("method", name)
        if not isinstance(entry, Mapping):
            raise TypeError(f"expected an object; got {entry!r:.60}")
        tuning = tuning_of({key: entry[key] for key in entry if key not in ("settings", "gap")})
        best = tuning.best
        if (entry["settings"], entry["gap"]) != ((best.settings, best.gap) if best else ({}, None)):
            raise ValueError(
                "its settings and gap are not those of its best trial; `unlearn run --set` sets by "
                "hand"
            )
    except ODD as error:
        missing = "it lacks " if isinstance(error, KeyError) else ""
        return Unread(entry, f"{missing}{error}")
    return tuning


def tuning_of(parts: Mapping[str, Any]) -> Tuning:
    """The tuning that ``dataclasses.asdict`` took apart; raises one of ``ODD`` where it is none."""
    _require_known(parts, [field.name for field in fields(Tuning)])
    for each in parts["trials"]:
        _require_known(each, [field.name for field in fields(Trial)])
    return msgspec.convert(parts, Tuning)


def _require_known(found: Iterable[str], known: Iterable[str]) -> None:
    odd = sorted({*found} - {*known})
    if odd:
        raise ValueError(f"unknown field {odd[0]!r}, as of a newer version")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of two values under one name Python would take the latter."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return found


def _finite(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")
