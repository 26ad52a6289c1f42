"""Rows of text as a Markdown table, valid whatever stands in its cells."""

from __future__ import annotations

import re
from collections.abc import Sequence


def markdown_table(rows: Sequence[Sequence[object]], head: Sequence[str]) -> str:
    """A Markdown table with left-aligned columns.

    Cells are not padded to the width of their column: a longer name changes the lines that it
    stands in, and no other line of a page.
    """
    import pandas as pd
    from tabulate import TableFormat  # noqa: PLC0415

    def line(cells: Sequence[str], *_: object) -> str:
        return f"| {' | '.join(cell.strip() for cell in cells)} |"

    def rule(widths: Sequence[int], *_: object) -> str:
        return f"|{'|'.join([':--'] * len(widths))}|"

    compact = TableFormat(
        lineabove=None,
        linebelowheader=rule,
        linebetweenrows=None,
        linebelow=None,
        headerrow=line,
        datarow=line,
        padding=0,
        with_header_hide=None,
    )
    cells = [[_cell(str(cell)) for cell in row] for row in rows]
    frame = pd.DataFrame(cells, columns=[_cell(title) for title in head])
    return str(frame.to_markdown(index=False, tablefmt=compact, disable_numparse=True))


def _cell(text: str) -> str:
    """On one line, and without an end of the cell in it."""
    # a backslash before the | would otherwise escape the backslash that escapes it
    return re.sub(r"(\\*)\|", r"\1\1\\|", " ".join(text.split()))
