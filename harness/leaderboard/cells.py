"""How ranks, gaps, intervals, costs and notes are written in the cells of a page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.leaderboard.rows import Row, Settings
from harness.leaderboard.selection import Progress
from harness.leaderboard.summary import Summary
from harness.leaderboard.table import Table

NONE = "–"
DEFAULTS = "defaults"


def ranges(numbers: Sequence[int]) -> str:
    """Ascending whole numbers, as in ``0–7, 100``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def mean_sd(summary: Summary | None, digits: int = 2) -> str:
    """As in ``1.23 ± 0.45``; of one value the value, and its own interval where it has one."""
    if summary is None:
        return NONE
    mean = f"{summary.mean:.{digits}f}"
    if summary.sd is not None:
        return f"{mean} ± {summary.sd:.{digits}f}"
    if summary.low is None or summary.high is None:
        return mean
    return f"{mean} [{summary.low:.{digits}f}, {summary.high:.{digits}f}]"


def interval(summary: Summary | None) -> str:
    """The mean's 95 % interval, as in ``[0.50, 1.50]``."""
    if summary is None or summary.low is None or summary.high is None:
        return NONE
    return f"[{summary.low:.2f}, {summary.high:.2f}]"


def rank_of(row: Row, table: Table) -> str:
    """As in ``3 (1–7) of 29``, or ``3 of 29`` where nothing was tested."""
    if row.rank is None:
        return NONE
    tested = "" if row.rank.low is None else f" ({row.rank.low}–{row.rank.high})"
    return f"{row.rank.place}{tested} of {table.ranked}"


def gap_of(row: Row) -> str:
    """The average gap; if some runs did not finish, that of the others and how many they are."""
    if row.gap is not None or row.finished_gap is None:
        return mean_sd(row.gap)
    return f"{mean_sd(row.finished_gap)} in {row.finished_gap.n} of {row.outcomes.replicates}"


def n_of(row: Row) -> str:
    """The replicates behind the gap; with all of the row's if there are fewer."""
    every = row.outcomes.replicates
    if row.finished_gap is None:
        return str(every) if row.outcomes.all_finished else f"0 of {every}"
    return str(every) if row.finished_gap.n == every else f"{row.finished_gap.n} of {every}"


def metric_of(row: Row, name: str, digits: int = 1) -> str:
    """Mean and deviation of a metric, with its distance from the retrained models in brackets."""
    measured = row.metrics.get(name)
    if measured is None or measured.value is None:
        return NONE
    text = mean_sd(measured.value, digits)
    if measured.difference is not None:
        text += f" ({measured.difference.mean:+.{digits}f})"
    return text


def seconds_of(row: Row) -> str:
    """Seconds, with the share of retraining's in brackets."""
    return _cost(row.spending.seconds, row.spending.seconds_share, digits=1)


def passes_of(row: Row) -> str:
    """Passes, with the share of retraining's in brackets."""
    return _cost(row.spending.passes, row.spending.passes_share, digits=0)


def _cost(summary: Summary | None, share: float | None, *, digits: int) -> str:
    if summary is None:
        return NONE
    return f"{summary.mean:,.{digits}f}" + ("" if share is None else f" ({share:.0%})")


def chosen_of(row: Row) -> str:
    """How the settings were chosen."""
    return NONE if row.is_reference else row.settings.chosen or DEFAULTS


def tuning_of(row: Row) -> str:
    """What all trials took, in units of one retraining."""
    share = row.settings.tuning_share
    return NONE if row.is_reference or share is None else f"{share:.0%}"


def settings_of(settings: Settings) -> str:
    """All settings, as in ```lr=0.1`, `epochs=5```."""
    return ", ".join(f"`{name}={value}`" for name, value in settings.config.items()) or NONE


def note_of(row: Row, table: Table) -> str:
    """Why a row has no rank, and all that a reader must know before comparing it."""
    if row.is_reference:
        return ""
    parts = [row.unranked or table.obstacle]
    if row.newer_source is not None:
        parts.append(f"of an earlier source: {progress(row.newer_source)}")
    if row.elsewhere:
        parts.append(f"own references on {row.elsewhere}")
    # a reason may be any exception's: <class 'x'> would be taken for a tag, * for emphasis
    text = "; ".join(part for part in [*parts, *handicaps(row, table)] if part)
    return re.sub(r"([<*])", r"\\\1", text)


def handicaps(row: Row, table: Table) -> list[str]:
    """What a row was granted more than others, or less."""
    if row.is_reference:
        return []
    found = [DEFAULTS] if table.tuned and not row.settings.chosen else []
    if row.spending.beyond_budget:
        found.append(f"beyond the budget: {row.spending.passes_share:.1%}")
    return found


def progress(newest: Progress) -> str:
    """How far the newest version has come that will take the place of the one shown."""
    return f"the newest has {newest.done} of its {newest.of} replicates"


def counted(n: int, noun: str) -> str:
    """As in ``1 run``, ``2 runs``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
