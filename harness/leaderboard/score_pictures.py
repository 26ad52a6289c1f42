"""The pictures of a scenario's page: the rows' ROCs and scores, one SVG file an attack. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape

from harness.leaderboard.score_curves import AttackScores
from harness.leaderboard.score_panels import (
    HEIGHT,
    LEAST,
    WIDTH,
    doubtful_below,
    frame,
    in_words,
    panel,
)
from harness.leaderboard.svg import element, label, line, path, printable, rectangle
from harness.leaderboard.table import Table
from harness.specs.scenario import RETRAIN
from harness.specs.score_summary import FEWEST_FALSE_POSITIVES

EDGE, GAP, HEADER, FOOTER = 20, 20, 106, 56
"""Pixels: around the panels, between them, above them and below them."""
COLUMNS = 2
TOTAL_WIDTH = 2 * EDGE + COLUMNS * WIDTH + (COLUMNS - 1) * GAP

NOTES = (
    f"Rates below {LEAST} are drawn at {LEAST}, a TPR of 0 too. A higher score means a more likely "
    "member.\n"
    "A score beyond the edges of a histogram is counted in its outermost bin. The heights of the "
    "histograms differ from row to row."
)
CAPTION = (
    "On the left of each panel is the mean ROC of the row beside the range of the retrained "
    f"models, on log-log axes, where a TPR of 0 is drawn at {LEAST}; on the right are the scores "
    "of the forget set and of the non-members."
)
STYLE = """
text { font-family: system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif;
  font-size: 11px; fill: #1f2328 }
.head { font-size: 18px; font-weight: 600 } .name { font-size: 14px; font-weight: 600 }
.key { font-size: 12px } .mid { text-anchor: middle } .end { text-anchor: end }
.muted, .tick { fill: #59636e } .tick { font-size: 10px }
.page { fill: #ffffff } .plot { fill: #f6f8fa } .few { fill: url(#hatch) }
.grid { stroke: #d1d9e0; stroke-width: 1 } .hatch { stroke: #8c959f; stroke-width: 0.8 }
.guess { stroke: #59636e; stroke-width: 1.2; stroke-dasharray: 5 4 }
.band { fill: #009e73; fill-opacity: 0.3; stroke: #009e73; stroke-width: 1 }
.curve { fill: none; stroke: #1f2328; stroke-width: 2.2; stroke-linejoin: round }
.forget { fill: #0072b2; fill-opacity: 0.5; stroke: none }
.others { fill: none; stroke: #d55e00; stroke-width: 1.8; stroke-linejoin: round }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .muted, .tick { fill: #9198a1 }
  .page { fill: #0d1117 } .plot { fill: #161b22 }
  .grid { stroke: #3d444d } .hatch { stroke: #656c76 } .guess { stroke: #9198a1 }
  .band { fill: #2bc49a; stroke: #2bc49a } .curve { stroke: #f0f6fc }
  .forget { fill: #56b4e9; fill-opacity: 0.6 } .others { stroke: #ff8a3d }
}
"""
"""Colours that differ in lightness and in kind (area, outline, line), for light and dark pages."""

HATCH = element(
    "pattern",
    line((0, 0), (0, 6), "hatch"),
    id="hatch",
    width="6",
    height="6",
    patternUnits="userSpaceOnUse",
    patternTransform="rotate(45)",
)


def file_name(table: Table, protocol: str) -> str:
    """Of the picture of one attack, beside the page."""
    return f"{table.scenario.name}-{protocol}.svg"


def picture_block(table: Table) -> list[str]:
    """The lines of a page that show its pictures; none where no attack's scores are recorded."""
    if not table.scores:
        return []
    return [
        "## Score distributions\n",
        *(f"![ROC and scores of {each}]({file_name(table, each)})\n" for each in table.scores),
        f"{CAPTION}\n",
    ]


def score_pictures(table: Table) -> dict[str, str]:
    """File name → SVG, of each attack whose scores are recorded."""
    return {file_name(table, name): _picture(table, name) for name in table.scores}


def _picture(table: Table, protocol: str) -> str:
    scores = table.scores[protocol]
    rows = [row for row in table.rows if row.label in scores.rows]
    retrained = next((scores.rows[row.label] for row in rows if row.method == RETRAIN), None)
    deep = -(-len(rows) // COLUMNS)
    height = HEADER + deep * HEIGHT + (deep - 1) * GAP + FOOTER
    title = f"{protocol} on {table.scenario.name}: ROC and scores"
    words = [f"{row.label}: {in_words(scores.rows[row.label], scores, retrained)}." for row in rows]
    panels = [
        panel(row.label, scores, retrained, (_across(i % COLUMNS), _down(i // COLUMNS)))
        for i, row in enumerate(rows)
    ]
    return (
        element(
            "svg",
            f"\n{element('title', escape(title), id='title')}\n",
            f"{element('desc', escape(printable(' '.join(words))), id='desc')}\n",
            f"{element('style', STYLE)}\n",
            element("defs", HATCH, "\n", frame(scores, retrained)) + "\n",
            rectangle((0, 0), (TOTAL_WIDTH, height), "page") + "\n",
            label(printable(title, 90), (EDGE, 34), class_="head") + "\n",
            *(f"{each}\n" for each in (*_legend(scores, has_band=retrained is not None), *panels)),
            *(
                label(note, (EDGE, height - FOOTER + 24 + 16 * i), class_="muted") + "\n"
                for i, note in enumerate(NOTES.splitlines())
            ),
            xmlns="http://www.w3.org/2000/svg",
            width=f"{TOTAL_WIDTH}",
            height=f"{height}",
            viewBox=f"0 0 {TOTAL_WIDTH} {height}",
            role="img",
            aria_labelledby="title desc",
        )
        + "\n"
    )


def _across(column: int) -> int:
    return EDGE + column * (WIDTH + GAP)


def _down(row: int) -> int:
    return HEADER + row * (HEIGHT + GAP)


def _legend(scores: AttackScores, *, has_band: bool) -> Iterable[str]:
    """Two lines: what the left plots show, and what the right ones show."""
    yield from (label(word, (EDGE, y), class_="key") for word, y in (("Left:", 62), ("Right:", 84)))
    yield line((68, 58), (92, 58), "curve") + label("mean of the row", (98, 62), class_="key")
    if has_band:
        yield rectangle((252, 52), (24, 12), "band")
        yield label("retrained models, lowest to highest", (282, 62), class_="key")
    yield line((522, 58), (546, 58), "guess") + label("guessing", (552, 62), class_="key")
    if doubtful_below(scores) > LEAST:
        yield rectangle((634, 52), (24, 12), "few")
        few = f"fewer than {FEWEST_FALSE_POSITIVES} false positives a run"
        yield label(few, (664, 62), class_="key")
    yield rectangle((68, 74), (24, 12), "forget") + label("forget set", (98, 84), class_="key")
    yield path([(252, 86), (252, 76), (276, 76), (276, 86)], "others")
    yield label("non-members", (282, 84), class_="key")
