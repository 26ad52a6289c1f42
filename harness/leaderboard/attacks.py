"""A table's attacks with further models: which metrics they are, and a verdict on each row. Pure.

Of a protocol with a pool, a metric is known by its name: ``ft-auc`` tells forgotten from test
images; so does ``auc``, by an attacker who knows the method, if all replicates share it; ``null``,
or ``null-forget`` of ``forget``, is what the others show between models of one law.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from harness.leaderboard.gaps import ACCURACIES
from harness.leaderboard.guessing import (
    UNDERPOWERED,
    beside_guessing,
    beside_retrained,
    equivalence,
)
from harness.leaderboard.readings import Readings
from harness.leaderboard.rows import Row
from harness.leaderboard.stand_in import is_ft_auc
from harness.leaderboard.table import Table
from harness.specs.scenario import RETRAIN

HEADLINE = "rmia"
"""The protocol whose FT AUC comes first, unless another one's counts in the gap."""
KNOWING = "auc"
DISTANCES = ("forget", "score")
"""Of a protocol with a null, what it says of the forget set."""
NULL = "null"


class Verdict(NamedTuple):
    """What an attack's AUC says of a row."""

    equivalence: str
    """One of the outcomes of ``guessing.equivalence``."""
    beside: str
    """One of the outcomes of ``guessing.beside_retrained``; empty for the retrained models."""
    images: int
    """How many images were to be forgotten, over all replicates."""

    def __str__(self) -> str:
        first = self.equivalence
        if first == UNDERPOWERED:
            first += f" at n = {self.images:,}" if self.images else ""
        return "; ".join(filter(None, [first, self.beside]))


def ft_aucs(table: Table) -> list[str]:
    """The FT AUCs that some row has; the headline is the first."""
    own = table.components[-1]
    found = [name for name in _measured(table) if is_ft_auc(name, table.pools)]
    return sorted(found, key=lambda name: (name != own, not name.startswith(f"{HEADLINE}."), name))


def knowing_aucs(table: Table) -> list[str]:
    """The AUCs of attackers who know the method: one value for all replicates of a row."""
    return [
        name
        for name in _measured(table)
        if _protocol(name) in table.pools
        and name.endswith(f".{KNOWING}")
        and name in table.definitions
        and table.definitions[name].shared
    ]


def distances(table: Table) -> list[str]:
    """What protocols with a null say of the forget set."""
    names = _measured(table)
    return [
        name
        for name in names
        if name.endswith(tuple(f".{metric}" for metric in DISTANCES))
        and _protocol(name) in table.pools
        and null_of(name, names) in names
    ]


def null_of(name: str, names: Collection[str]) -> str:
    """The null of a metric: its own, or else its protocol's."""
    protocol, _, metric = name.partition(".")
    own = f"{protocol}.{NULL}-{metric}"
    return own if own in names else f"{protocol}.{NULL}"


def readings(row: Row, name: str, table: Table) -> Readings:
    """What a row has of a metric on the page's replicates; empty where it has nothing."""
    measured = row.metrics.get(name)
    return measured.readings.on(table.replicates) if measured else Readings({})


def of_retrained(name: str, table: Table) -> Readings:
    """The same of the retrained models."""
    rows = [row for row in table.rows if row.method == RETRAIN]
    return readings(rows[0], name, table) if rows else Readings({})


def verdict(row: Row, name: str, table: Table) -> Verdict | None:
    """What an FT AUC says of a row; none where the row has none."""
    found = readings(row, name, table)
    if not found.values:
        return None
    forget = readings(row, ACCURACIES[0], table).on(found.values)
    beside = "" if row.method == RETRAIN else beside_retrained(found, of_retrained(name, table))
    return Verdict(equivalence(found), beside, sum(forget.images.values()))


def verdict_of_knowing(row: Row, name: str) -> str:
    """What the AUC of an attacker who knows the method says of a row; empty without an interval."""
    measured = row.metrics.get(name)
    value = measured.value if measured else None
    if value is None or value.low is None or value.high is None:
        return ""
    return beside_guessing(value.low, value.high)


def _measured(table: Table) -> list[str]:
    """The metrics of which some row has a value."""
    every = {name: each for row in table.rows for name, each in row.metrics.items() if each.value}
    return sorted(every)


def _protocol(name: str) -> str:
    return name.partition(".")[0]
