"""What a leaderboard's folder holds of others' numbers: tables, scenarios in words, a catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.specs.published import Published


@dataclass(frozen=True)
class Described:
    """A scenario in words, for a page without a run of ours."""

    dataset: str
    backbone: str
    forget: str
    note: str = ""
    waits: bool = False
    """Whether it has a page only once a run of ours is in the records."""


@dataclass(frozen=True)
class Listed:
    """A row of a catalogue of results, as printed there."""

    method: str
    """Ours."""
    task: str
    dataset: str
    metric: str
    value: str
    """The printed digits; empty where none are printed."""
    rank: int | None
    scenario: str
    note: str


@dataclass(frozen=True)
class Literature:
    """What ``published/*.csv`` hold."""

    tables: tuple[Published, ...] = ()
    scenarios: Mapping[str, Described] = field(default_factory=dict)
    catalogue: tuple[Listed, ...] = ()
