"""Which attack counts in the average gap: one that is too uncertain gives way to another. Pure.

An attack with reference models tells forgotten from unseen images by few of them: on a small forget
set its AUC is too uncertain to rank methods by.
"""

from __future__ import annotations

from collections.abc import Collection, Container
from dataclasses import dataclass, replace
from typing import NamedTuple

from harness.leaderboard.admission import RankedRows, admit
from harness.leaderboard.gaps import Comparison, Estimates
from harness.leaderboard.grouping import ReplicateKey
from harness.leaderboard.measured import measured_of
from harness.leaderboard.readings import Readings
from harness.leaderboard.rows import RowBuilder
from harness.leaderboard.selection import Selection
from harness.records.lines import FINISHED
from harness.specs.scenario import REFERENCES, RETRAIN

STAND_INS = ("loss-mia.auc", "confidence-mia.svc")
"""What stands in, by preference."""
FT_AUC = "ft-auc"
"""The metric, of a protocol with a pool, that has to be certain enough."""
WIDEST = 3.0
"""Percentage points: the widest half of an interval with which it counts."""


@dataclass(frozen=True)
class StandIn:
    """An attack that counts in the gap instead of the scenario's own."""

    metric: str
    """Empty: no stand-in has a value in all runs, so the scenario's own counts after all."""
    instead_of: str
    reason: str
    """Why the scenario's own does not count: a clause."""


class Judged(NamedTuple):
    """What a page's gaps are made of, and which rows they admit to the ranks."""

    rows: RowBuilder
    field: RankedRows
    stand_in: StandIn | None


def judge(
    selection: Selection, estimates: Estimates, components: tuple[str, ...], hardware: str
) -> Judged:
    """The rows of a page, with the stand-in where its attack is too uncertain or not measured.

    The attack is judged on the replicates that the page would have with it.
    """
    comparison = Comparison(estimates, selection.retrained, components)
    rows = RowBuilder(selection, comparison, hardware)
    field = _admitted(rows)
    attack = components[-1]
    reason = _objection(rows, attack, field.replicates)
    if not reason:
        return Judged(rows, field, None)
    metric = next((name for name in STAND_INS if _has_all(rows, name)), "")
    if metric:
        counted = Comparison(estimates, selection.retrained, (*components[:-1], metric))
        rows = replace(rows, comparison=counted)
        field = _admitted(rows)
    return Judged(rows, field, StandIn(metric, attack, reason))


def is_ft_auc(name: str, pools: Container[str]) -> bool:
    """Whether it is a ``protocol.metric`` that has to be certain enough.

    ``pools`` holds the protocols that have a pool.
    """
    protocol, _, metric = name.partition(".")
    return metric == FT_AUC and protocol in pools


def uncertainty(name: str, pools: Container[str], retrained: Readings | None) -> str:
    """Why an attack is too uncertain to count in a gap, as a clause; empty if it is not.

    ``retrained`` are its values of the retrained models, on the page's replicates.
    """
    if not is_ft_auc(name, pools):
        return ""
    half = retrained.half_width() if retrained and retrained.values else None
    if half is None:
        return "nothing tells how certain the retrained models' mean of it is"
    if half <= WIDEST:
        return ""
    return (
        f"the 95 % interval of the retrained models' mean of it is ± {half:.2f} points wide, and "
        f"an attack counts up to ± {WIDEST:.0f}"
    )


def _admitted(rows: RowBuilder) -> RankedRows:
    every = rows.selection.rows.items()
    return admit([rows.entry(key) for key, own in every if own[0].method not in REFERENCES])


def _objection(rows: RowBuilder, attack: str, replicates: Collection[ReplicateKey]) -> str:
    """Why the scenario's own attack does not count; empty if it does."""
    if attack.partition(".")[2] != FT_AUC:
        return ""
    shown = [run for own in rows.selection.rows.values() for run in own]
    if attack in rows.comparison.unmeasured(shown):
        return "no run has a value of it"
    retrained = [run for run in shown if run.method == RETRAIN]
    found = measured_of(retrained, rows.comparison).get(attack) if retrained else None
    readings = found.readings.on(replicates) if found else None
    return uncertainty(attack, rows.comparison.estimates.pools, readings)


def _has_all(rows: RowBuilder, name: str) -> bool:
    """Whether every finished run has a value of it."""
    values = rows.comparison.estimates.values
    shown = (run for own in rows.selection.rows.values() for run in own)
    return all(name in values(run) for run in shown if run.status == FINISHED)
