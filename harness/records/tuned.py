"""Tuned settings: one readable file per scenario, with every trial."""

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

BUDGET = 0.2
"""Of retraining's passes: the most that a run with tuned settings may take, everything included."""

SLACK = 1.001
"""Retraining for a fifth of its epochs takes a fifth of its passes only up to rounding."""

FOLDER = "tuned"
"""The name of the folder, which lies beside the pages."""

OVER = "over the budget"
"""The note of a trial that took more than the budget."""

IRRELEVANT = ("name", "dataset", "replicates", "crossed", "tuned_as", "pool")
"""Fields of a scenario that do not affect tuning; the fingerprint identifies the data. The size of
a pool changes only how precisely an attack is measured."""


INVALID = (ValueError, TypeError, KeyError, AttributeError)
"""Raised for an invalid entry."""

OF = ", of "
"""Separates, in ``Tuning.chosen``, the tuning from the outdated source or definition it was for."""


@dataclass(frozen=True)
class Trial:
    """One trial of some settings."""

    settings: Mapping[str, str | int | float | bool | None]
    gap: float | None
    """Percentage points; None if the trial failed, diverged or exceeded the budget."""
    passes: float
    """The total of all runs of the trial."""
    note: str = ""
    """Why the gap is missing."""

    def __post_init__(self) -> None:
        settle(self, "trial", gap=OrNone(NOT_NEGATIVE), passes=NOT_NEGATIVE)


@dataclass(frozen=True)
class Tuning:
    """How the settings of one method were chosen."""

    source: str
    """The hash of the method's source."""
    replicates: int
    """The number of original models on which each trial was evaluated."""
    trials: tuple[Trial, ...]
    problem: str = ""
    """The hash from ``tuning_problem``; empty in files of earlier versions."""
    confirmed: tuple[Trial, ...] = ()
    """The first trial's settings, which are the defaults, if it succeeded, and the best few, each
    judged again on as many originals that no trial used; empty in files of earlier versions."""

    def __post_init__(self) -> None:
        if not self.trials or self.replicates < 1:
            raise ValueError("expected at least one trial on at least one replicate")

    @property
    def best(self) -> Trial | None:
        """The trial with the smallest gap, the earliest on a tie; None if all failed.

        Its gap is that on fresh originals, unless an earlier version chose it without them.
        """
        return _best(self.confirmed or self.trials)

    @property
    def defaults(self) -> Trial | None:
        """The defaults on fresh originals; None if they failed or were not tried."""
        first = self.confirmed[:1]
        return first[0] if first and first[0].settings == self.trials[0].settings else None

    @property
    def passes(self) -> float:
        """The total passes of all trials and of the confirmation."""
        return sum(trial.passes for trial in (*self.trials, *self.confirmed))

    def gap_after(self, trials: int) -> float | None:
        """The smallest gap of the first so many trials, on their own originals."""
        best = _best(self.trials[:trials])
        return best.gap if best else None

    def candidates(self, most: int) -> list[Trial]:
        """The trials to confirm: the first, which is the defaults, and this many of the best.

        Failed trials are left out, and settings occur only once.
        """
        first = [trial for trial in self.trials[:1] if trial.gap is not None]
        finished = [trial for trial in self.trials if trial.gap is not None]
        found: list[Trial] = []
        for trial in (*first, *sorted(finished, key=lambda trial: trial.gap or 0.0)):
            if all(trial.settings != other.settings for other in found):
                found.append(trial)
        return found[: most + len(first)]

    def __str__(self) -> str:
        return f"tuned, {self._count}"

    @property
    def _count(self) -> str:
        return f"{len(self.trials)} trial{'s' * (len(self.trials) > 1)}"

    def chosen(self, source: str, problem: str, scenario: str = "") -> str:
        """How a row describes these settings, given the current hashes of method and problem.

        ``scenario`` is the one that they were tuned on, if the row is in another.
        """
        text = f"tuned on {scenario}, {self._count}" if scenario else str(self)
        stale = ["source"] * (source != self.source)
        stale += ["definition"] * (self.problem not in ("", problem))
        words = [f"an earlier {' and '.join(stale)}"] * bool(stale)
        words += ["an unknown definition"] * (not self.problem)
        return f"{text}{OF}{' and '.join(words)}" if words else text

    def apply(self, config: Any) -> Any:
        """The config with the best settings.

        Raises ValueError or TypeError if they no longer fit it.
        """
        return replace(config, **self.best.settings) if self.best else config


def _best(trials: Iterable[Trial]) -> Trial | None:
    finished = [trial for trial in trials if trial.gap is not None]
    return min(finished, key=lambda trial: trial.gap or 0.0, default=None)


@dataclass(frozen=True)
class Unread:
    """A method's entry that this version cannot read; it is kept when the file is rewritten."""

    entry: Any
    reason: str


def tuning_problem(scenario: Scenario, fingerprint: str, build: str) -> str:
    """The hash of everything that a tuning's gaps depend on, except the method and the seeds.

    It covers the scenario's definition, the content of its data and the source of its backbone.
    """
    parts = {name: value for name, value in plain(scenario).items() if name not in IRRELEVANT}
    return identity({**parts, "data": fingerprint, "backbone": build})


def read(folder: Path, scenario: str) -> dict[str, Tuning | Unread]:
    """Method → tuning; empty if the scenario has no file.

    Raises UserError for an invalid file.
    """
    path = folder / f"{scenario}.json"
    try:
        text = path.read_text("utf-8")
        entries = json.loads(text, object_pairs_hook=_once, parse_constant=_finite)
        return {name: _entry(name, each) for name, each in entries.items()}
    except FileNotFoundError:
        return {}
    except (OSError, RecursionError, *INVALID) as error:
        raise UserError(
            f"{path}: not a file of tuned settings ({type(error).__name__}: {error}); restore it "
            f"from git, or remove it to run with defaults"
        ) from None


def write(folder: Path, scenario: str, tunings: Mapping[str, Tuning]) -> None:
    """Writes these methods' entries to the scenario's file, in a single rename.

    All other entries in the file are kept, whoever wrote them. Raises UserError if the folder is
    not writable, even if there is nothing to write.
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
    """The entry as JSON with one line per trial, to be readable in the file and in diffs."""
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
    facts.append(f'  "trials": {_list(tuning.trials)}')
    if tuning.confirmed:
        facts.append(f'  "confirmed": {_list(tuning.confirmed)}')
    return "{\n" + ",\n".join(facts) + "\n }"


def _list(trials: Iterable[Trial]) -> str:
    return "[\n" + ",\n".join(f"   {json.dumps(asdict(trial))}" for trial in trials) + "\n  ]"


def _entry(name: str, entry: Any) -> Tuning | Unread:
    try:
        check_name("method", name)
        if not isinstance(entry, Mapping):
            raise TypeError(f"expected an object; got {entry!r:.60}")
        tuning = tuning_of({key: entry[key] for key in entry if key not in ("settings", "gap")})
        best = tuning.best
        if (entry["settings"], entry["gap"]) != ((best.settings, best.gap) if best else ({}, None)):
            raise ValueError(
                "its settings and gap are not those of its best trial; to set them by hand, use "
                "`unlearn run --set`"
            )
    except INVALID as error:
        missing = "it lacks " if isinstance(error, KeyError) else ""
        return Unread(entry, f"{missing}{error}")
    return tuning


def tuning_of(parts: Mapping[str, Any]) -> Tuning:
    """The tuning from the output of ``dataclasses.asdict``; raises one of ``INVALID``."""
    _require_known(parts, [field.name for field in fields(Tuning)])
    for each in (*parts["trials"], *parts.get("confirmed", ())):
        _require_known(each, [field.name for field in fields(Trial)])
    return msgspec.convert(parts, Tuning)


def _require_known(found: Iterable[str], known: Iterable[str]) -> None:
    unknown = sorted({*found} - {*known})
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}, perhaps of a newer version")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without repeated names, of which Python would keep only the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} occurs twice")
    return found


def _finite(constant: str) -> float:
    raise ValueError(f"{constant} is not a valid JSON number")
