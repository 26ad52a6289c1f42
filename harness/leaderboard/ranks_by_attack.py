"""The block of a scenario's page on how the ranks change with the attack in the gap. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from harness.leaderboard.attacks import ft_aucs, of_retrained, readings
from harness.leaderboard.cells import NONE
from harness.leaderboard.gaps import ACCURACIES, DECIMALS
from harness.leaderboard.grouping import ReplicateKey
from harness.leaderboard.markdown_table import markdown_table
from harness.leaderboard.rows import Row
from harness.leaderboard.stand_in import STAND_INS, uncertainty
from harness.leaderboard.table import Table

FEWEST = 2
"""Attacks, for a comparison."""


def ranks_by_attack(table: Table) -> list[str]:
    """The lines of the block; none without a pool or ranks, or with one attack alone."""
    gaps = {name: _gaps(table, name) for name in _candidates(table)}
    gaps = {name: found for name, found in gaps.items() if found}
    if not table.pools or not table.ranked or len(gaps) < FEWEST:
        return []
    uncertain = [name for name in gaps if uncertainty(name, table.pools, of_retrained(name, table))]
    places = {name: _places(found) for name, found in gaps.items()}
    labels = [row.label for row in table.rows if row.label in table.gaps]
    rows = [
        [label, *(f"{gaps[name][label]:.2f} ({places[name][label]})" for name in gaps)]
        for label in labels
    ]
    head = ["Method", *(f"{name}{' ‡' if name in uncertain else ''}" for name in gaps)]
    return [
        "## How the ranks change with the MIA\n",
        f"{_text(table, gaps, uncertain)}\n",
        markdown_table(rows, head),
        "",
    ]


def kendall(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b of two rankings of the same rows, in [-1, 1]; none if one ties all rows.

    Kendall 1945, https://doi.org/10.1093/biomet/33.3.239
    """
    one, other = (np.sign(np.subtract.outer(each, each)) for each in map(np.array, (first, second)))
    pairs = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / pairs if pairs else None


def _candidates(table: Table) -> list[str]:
    """The page's own attack, the others of the scenario's protocol, stand-ins and FT AUCs."""
    protocol = table.scenario.mia.partition(".")[0]
    own = [
        name
        for name, metric in table.definitions.items()
        if name.startswith(f"{protocol}.")
        and (metric.unit, metric.goal, metric.shared) == ("%", "match", False)
    ]
    names = [table.components[-1], table.scenario.mia, *own, *STAND_INS, *ft_aucs(table)]
    return [*dict.fromkeys(names)]


def _gaps(table: Table, attack: str) -> dict[str, float]:
    """Label → mean gap with this attack, of the rows that enter the ranks.

    Empty if one of them has no value of it.
    """
    rows = [row for row in table.rows if row.label in table.gaps]
    found = {row.label: _gap(row, (*ACCURACIES, attack), table) for row in rows}
    known = {label: gap for label, gap in found.items() if gap is not None}
    return known if len(known) == len(found) else {}


def _gap(row: Row, components: Iterable[str], table: Table) -> float | None:
    differences = [readings(row, name, table).differences for name in components]
    if not all({*table.replicates} <= found.keys() for found in differences):
        return None
    return statistics.fmean(_gap_at(at, differences) for at in table.replicates)


def _gap_at(at: ReplicateKey, differences: Sequence[Mapping[ReplicateKey, float]]) -> float:
    return statistics.fmean(abs(found[at]) for found in differences)


def _places(gaps: Mapping[str, float]) -> dict[str, int]:
    """1 + the number of rows whose gap is lower."""
    rounded = {label: round(gap, DECIMALS) for label, gap in gaps.items()}
    return {
        label: 1 + sum(other < gap for other in rounded.values()) for label, gap in rounded.items()
    }


def _text(table: Table, gaps: Mapping[str, Mapping[str, float]], uncertain: Sequence[str]) -> str:
    own = table.components[-1]
    taus = [
        f"{NONE if tau is None else f'{tau:.2f}'} with `{name}`"
        for name, tau in ((name, _tau(gaps[own], gaps[name])) for name in gaps if name != own)
    ]
    text = (
        "The average gap of each ranked row, and in brackets its place, with one attack or another "
        "beside the three accuracies. Kendall's tau between the page's own order, with "
        f"`{own}`, and the others is {', '.join(taus)}; 1 is the same order."
    )
    if uncertain:
        text += " ‡ is too uncertain to count on this page, and is shown for comparison alone."
    return text


def _tau(first: Mapping[str, float], second: Mapping[str, float]) -> float | None:
    return kendall(*([round(gaps[label], DECIMALS) for label in first] for gaps in (first, second)))
