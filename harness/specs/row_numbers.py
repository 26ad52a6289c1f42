"""Row numbers of a train set, as a user gives them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from harness.specs.checks import LARGEST_INT, number_of, shown


@dataclass(frozen=True)
class Rows:
    """Distinct row numbers, given as any kind of sequence."""

    def __str__(self) -> str:
        return "distinct row numbers, whole and counted from 0"

    def take(self, value: Any) -> tuple[int, ...]:
        """The rows as a tuple in ascending order."""
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
            raise TypeError
        rows = value.tolist() if hasattr(value, "tolist") else [*value]
        if not isinstance(rows, list) or not rows:
            raise ValueError("no rows were given")
        rows = [row if type(row) is int else self._row(row) for row in rows]
        if min(rows) < 0 or max(rows) > LARGEST_INT:
            raise ValueError(f"the rows run from {min(rows)} to {max(rows)}")
        if twice := len(rows) - len({*rows}):
            often = next(row for row, n in Counter(rows).items() if n > 1)
            raise ValueError(f"{twice} of {len(rows)} rows are repeats, such as {often}")
        return tuple(sorted(rows))

    def _row(self, value: Any) -> int:
        try:
            number = number_of(value)
        except TypeError:
            hint = "; for a mask, give its rows: mask.nonzero()" * (value is True or value is False)
            raise TypeError(f"{shown(value)} is not a row number{hint}") from None
        if not isinstance(number, int):
            raise TypeError(f"{shown(value)} is not a whole number")
        return number
