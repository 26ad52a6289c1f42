"""Copies the first rows of the digits page into the README.

python tests/benchmarks/readme_table.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

ROOT = Path(__file__).parents[2]
COLUMNS = (
    "Rank",
    "Method",
    "Average gap",
    "Forget acc. (%)",
    "Retain acc. (%)",
    "Test acc. (%)",
    "loss-mia.auc (%)",
    "Passes",
    "Note",
)
ROWS = 7
"""Two references and five methods."""
START, END = "<!-- table -->\n", "<!-- /table -->"


def shortened(page: str) -> str:
    """The first table of a page, of its first rows the ``COLUMNS``."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    at = [head.index(title) for title in COLUMNS]
    shown = [COLUMNS, ["---"] * len(COLUMNS), *([row[c] for c in at] for row in rows[:ROWS])]
    return "".join(f"| {' | '.join(row)} |\n" for row in shown)


def main() -> None:
    """Rewrites the README's table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    page = (ROOT / "leaderboards" / "digits-random10.md").read_text(encoding="utf-8")
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(START)
    _, after = rest.split(END)
    readme.write_text(f"{before}{START}{shortened(page)}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
