"""What stands in the cells of a page, and the Markdown table around them."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from harness.specs import RETRAIN
from harness.standings import Standing, Table
from harness.statistics import Summary

NONE = "–"


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


def gap_of(standing: Standing) -> str:
    """The average gap, or how many of the runs diverged."""
    if standing.changed:
        return f"changed architecture: {standing.changed} of {standing.runs}"
    if standing.diverged:
        return f"diverged: {standing.diverged} of {standing.runs}"
    return mean_sd(standing.gap)


def n_of(standing: Standing, table: Table) -> str:
    """The replicates behind the gap; with those of the table where there are fewer."""
    n = standing.gap.n if standing.gap else standing.replicates
    every = max((s.replicates for s in table.standings if s.method == RETRAIN), default=n)
    return str(n) if n >= every else f"{n} of {every}"


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
