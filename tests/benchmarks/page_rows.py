"""Reads the rows of a scenario's page, which is all that the records say, rendered."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "leaderboards" / "digits-random10.md"

Cells = dict[str, str]
"""Column title → cell."""


def page_rows(page: str) -> list[Cells]:
    """The rows of the page's first table, in its order."""
    table = re.search(r"(?:^\|.*\n)+", page, re.MULTILINE)
    if table is None:
        raise ValueError("the page has no table")
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table[0].splitlines()]
    head, _, *rows = ([cell.strip() for cell in line] for line in lines)
    return [dict(zip(head, row, strict=True)) for row in rows]
