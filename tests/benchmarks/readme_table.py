"""Copies the first rows of the digits page into the README.

python tests/benchmarks/readme_table.py
"""

from __future__ import annotations

import argparse

from page_rows import DIGITS, ROOT, page_rows

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
    """Of the page's table the first rows, and of these the ``COLUMNS``."""
    rows = [[row[title] for title in COLUMNS] for row in page_rows(page)[:ROWS]]
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Rewrites the README's table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(START)
    _, after = rest.split(END)
    table = shortened(DIGITS.read_text(encoding="utf-8"))
    readme.write_text(f"{before}{START}{table}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
