"""What stands in the cells of a page, and the Markdown table around them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tabulate import tabulate

from harness.leaderboard.spread import Summary
from harness.leaderboard.table import Standing, Table
from harness.specs.scenario import REFERENCES

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
    """As in ``1.23 ± 0.45``; of one value only the value."""
    if summary is None:
        return NONE
    spread = "" if summary.sd is None else f" ± {summary.sd:.{digits}f}"
    return f"{summary.mean:.{digits}f}{spread}"


def rank_of(standing: Standing, table: Table) -> str:
    """As in ``3 (1–7) of 29``, or ``3 of 29`` where nothing was tested."""
    if standing.rank is None:
        return NONE
    place, low, high = standing.rank
    tested = "" if low is None else f" ({low}–{high})"
    return f"{place}{tested} of {table.ranked}"


def note_of(standing: Standing, table: Table) -> str:
    """Why a row has no rank, and all that one must know before comparing it."""
    where = f"own references on {standing.elsewhere}" if standing.elsewhere else ""
    parts = [standing.unranked, standing.earlier, where, *grades(standing, table)]
    # a reason may be any exception's: <class 'x'> would be taken for a tag, * for emphasis
    return re.sub(r"([<*])", r"\\\1", "; ".join(part for part in parts if part))


def grades(standing: Standing, table: Table) -> list[str]:
    """What a row was granted more than others, or less."""
    if standing.method in REFERENCES:
        return []
    found = [DEFAULTS] if table.tuned and not standing.chosen else []
    if standing.beyond_budget and standing.passes_share is not None:
        found.append(f"beyond the budget: {standing.passes_share:.1%}")
    return found


def gap_of(standing: Standing) -> str:
    """The average gap; where some runs did not finish, that of the others and how many they are."""
    if standing.survivors is None:
        return mean_sd(standing.gap)
    return f"{mean_sd(standing.survivors)} in {standing.survivors.n} of {standing.replicates}"


def n_of(standing: Standing) -> str:
    """The replicates behind the gap; with all of the row's where there are fewer."""
    shown, every = standing.gap or standing.survivors, standing.replicates
    if shown is None:
        return f"0 of {every}" if standing.faulty else str(every)
    return str(every) if shown.n == every else f"{shown.n} of {every}"


def interval(summary: Summary | None) -> str:
    """The mean's 95 % interval, as in ``[0.50, 1.50]``."""
    if summary is None or summary.low is None or summary.high is None:
        return NONE
    return f"[{summary.low:.2f}, {summary.high:.2f}]"


def signed(standing: Standing, name: str) -> str:
    """A metric's mean and deviation, in brackets its distance from the retrained models'."""
    if name not in standing.metrics:
        return NONE
    text = mean_sd(standing.metrics[name], digits=1)
    if name in standing.differences:
        text += f" ({standing.differences[name].mean:+.1f})"
    return text


def cost(summary: Summary | None, share: float | None, *, digits: int) -> str:
    """Seconds or passes, in brackets the share of retraining's."""
    if summary is None:
        return NONE
    return f"{summary.mean:,.{digits}f}" + ("" if share is None else f" ({share:.0%})")


def markdown(rows: Sequence[Sequence[object]], head: Sequence[str]) -> str:
    """A Markdown table; text of any kind stays in its cell."""
    cells = [[_cell(str(cell)) for cell in row] for row in rows]
    return tabulate(cells, head, tablefmt="pipe", disable_numparse=True, colalign=None)


def _cell(text: str) -> str:
    """On one line, and without an end of the cell in it."""
    return " ".join(text.split()).replace("|", "\\|")
