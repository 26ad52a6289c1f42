"""Draws the README's picture: the average gaps of the digits page, which the records render to.

    python tests/benchmarks/gap_picture.py    # writes leaderboards/gaps.svg; needs matplotlib

The same page gives the same bytes with the same matplotlib. Text stays text, so the file is small
and its words can be searched. The ground is white, so that it reads on light and dark pages alike.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator
from page_rows import DIGITS, page_rows

PICTURE = DIGITS.with_name("gaps.svg")
ORIGINAL, RETRAIN = REFERENCES = ("original", "retrain")

INK, FAINT, RULE, GRID = "#24292f", "#6e7781", "#c4cad1", "#e7eaee"
OURS, OTHERS, FLOOR = "#0b62c4", "#444c56", "#2e8b57"
FAMILY = "amun"
"""Methods whose name begins so are this project's own, and blue."""

TICKS = (0.5, 1, 2, 3, 5, 10, 20, 30, 50, 100)
ROW = 0.195
"""Height of a row in inches."""
WIDTH, ABOVE, BELOW, LEFT, RIGHT = 8.0, 0.36, 0.52, 1.36, 1.54
"""The picture's width and the margins around its axes, in inches."""

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gaps",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": FAINT,
    "ytick.color": INK,
}


class Row(NamedTuple):
    """One row of the picture: a reference, or a ranked method."""

    label: str
    mean: float
    """In percentage points, as low and high are."""
    low: float
    high: float
    ranks: str
    """The 95 % set of ranks, as in ``1–10``; empty for a reference."""
    beyond_budget: bool

    @property
    def colour(self) -> str:
        """By what the row is: the noise floor, the original, one of ours, or another's."""
        if self.label in REFERENCES:
            return FLOOR if self.label == RETRAIN else FAINT
        return OURS if self.label.startswith(FAMILY) else OTHERS


def rows_of(page: str) -> list[Row]:
    """The references and the ranked rows of a page, in its order."""
    rows = []
    for cells in page_rows(page):
        label = cells["Method"].removesuffix(" †")
        if cells["Rank"] == "–" and label not in REFERENCES:
            continue
        low, high = map(float, cells["95 % interval"].strip("[]").split(","))
        mean = float(cells["Average gap"].partition(" ")[0])
        ranks = re.search(r"\((\d+–\d+)\)", cells["Rank"])
        beyond = "beyond the budget" in cells["Note"]
        rows.append(Row(label, mean, low, high, ranks[1] if ranks else "", beyond))
    return rows


def draw(rows: Sequence[Row]) -> Figure:
    """A row a method, from the top: its label, its gap with the 95 % interval, and its ranks."""
    height = ABOVE + ROW * len(rows) + BELOW
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes(
        (
            LEFT / WIDTH,
            BELOW / height,
            (WIDTH - LEFT - RIGHT) / WIDTH,
            ROW * len(rows) / height,
        )
    )
    _scale(axes, rows)
    _references(axes, rows)
    for place, row in enumerate(rows):
        _row(axes, place, row)
    _columns(axes)
    _legend(axes)
    return figure


def _scale(axes: Axes, rows: Sequence[Row]) -> None:
    """The logarithm, since the page's tests compare logarithms; values above, rows downwards."""
    left = 0.75 * min(max(row.low, row.mean / 3) for row in rows)
    right = 1.12 * max(row.high for row in rows)
    axes.set(xscale="log", xlim=(left, right), ylim=(len(rows) - 0.5, -0.5))
    axes.xaxis.set_major_locator(FixedLocator([t for t in TICKS if left <= t <= right]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks([])
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.tick_params(length=0, pad=5)
    axes.set_axisbelow(True)
    axes.spines[["left", "right", "top", "bottom"]].set_visible(False)
    axes.set_xlabel("average gap to retrained models, percentage points (log scale)", labelpad=6)


def _references(axes: Axes, rows: Sequence[Row]) -> None:
    """The two marks by which every row is read: the noise of retraining, and no unlearning."""
    words = {RETRAIN: "noise floor", ORIGINAL: "no unlearning"}
    for row in rows:
        if row.label in words:
            axes.axvspan(row.low, row.high, color=row.colour, alpha=0.1, linewidth=0)
            axes.text(
                row.mean,
                -0.72,
                words[row.label],
                color=row.colour,
                ha="center",
                va="bottom",
                style="italic",
            )
    place = max((n for n, row in enumerate(rows) if row.label in REFERENCES), default=-1)
    axes.axhline(place + 0.5, color=RULE, linewidth=0.8, xmin=-0.25, xmax=1.28, clip_on=False)


def _row(axes: Axes, place: int, row: Row) -> None:
    left, _ = axes.get_xlim()
    axes.plot(
        [max(row.low, left), row.high],
        [place, place],
        color=row.colour,
        linewidth=1.6,
        solid_capstyle="round",
        gid=f"interval-{row.label}",
    )
    axes.plot(
        [row.mean],
        [place],
        "o",
        color=row.colour,
        markersize=5.4,
        markerfacecolor="white" if row.beyond_budget else row.colour,
        markeredgewidth=1.4,
        gid=f"gap-{row.label}",
    )
    across = axes.get_yaxis_transform()
    told = {"transform": across, "va": "center_baseline", "clip_on": False}
    axes.text(-0.02, place, row.label, ha="right", color=row.colour, **told)
    axes.text(1.10, place, f"{row.mean:.2f}", ha="right", color=row.colour, **told)
    axes.text(1.21, place, row.ranks, ha="center", color=row.colour, **told)


def _columns(axes: Axes) -> None:
    across = axes.get_yaxis_transform()
    for at, word, side in ((1.10, "gap", "right"), (1.21, "rank set", "center")):
        axes.text(at, -0.72, word, transform=across, ha=side, va="bottom", color=FAINT)


def _legend(axes: Axes) -> None:
    """What colours and hollow marks mean; in the corner that an ascending order leaves empty."""
    hollow = {"markerfacecolor": "white", "color": OTHERS}
    kinds = (
        ("AMUN and its variants", {"color": OURS}),
        ("other methods", {"color": OTHERS}),
        ("over 20 % of retraining’s cost", hollow),
    )
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=5.4, markeredgewidth=1.4, label=w, **k)
        for w, k in kinds
    ]
    legend = axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.2, 0.1),
        facecolor="white",
        edgecolor="white",
        framealpha=1,
        handletextpad=0.2,
        borderpad=0.2,
    )
    legend.set_zorder(1)  # its ground hides the grid, never an interval


def main() -> None:
    """Writes the picture beside the page."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with mpl.rc_context(STYLE):
        draw(rows_of(DIGITS.read_text(encoding="utf-8"))).savefig(
            PICTURE, metadata={"Date": None, "Title": f"Average gaps on {DIGITS.stem}"}
        )


if __name__ == "__main__":
    main()
