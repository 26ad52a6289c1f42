"""Reads a CSV file strictly: an error names the file, the line and the column."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.specs.checks import Kind, OrNone, Whole
from harness.specs.names import check_name


@dataclass(frozen=True)
class CsvRow:
    """One row of a file."""

    path: Path
    line: int
    """The line that it ends on; the first is 1."""
    fields: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.fields[column]

    def take(self, column: str, kind: Kind) -> Any:
        """The column's text as ``kind`` converts it; raises UserError if it does not."""
        try:
            return kind.take(self.fields[column])
        except (ValueError, TypeError):
            raise self.error(column, str(kind)) from None

    def error(self, column: str, expected: str) -> UserError:
        """The error about what stands in this column."""
        return UserError(
            f"{self.path}, line {self.line}, column {column}: found {self.fields[column]!r:.80}; "
            f"expected {expected}"
        )


@dataclass(frozen=True)
class Name:
    """A name that a page's file could have."""

    empty: bool = False

    def __str__(self) -> str:
        return "a name of letters, digits and . _ + -"

    def take(self, value: str) -> str:
        """The name."""
        if value or not self.empty:
            check_name("", value)
        return value


@dataclass(frozen=True)
class WholeText:
    """A whole number as text; no text is no number."""

    kind: Whole

    def __str__(self) -> str:
        return f"{self.kind}, or nothing"

    def take(self, value: str) -> int | None:
        """The number."""
        taken: int | None = OrNone(self.kind).take(int(value) if value else None)
        return taken


def csv_rows(path: Path, columns: Sequence[str]) -> list[CsvRow]:
    """The rows of a file that has exactly these columns, in this order; of no file none.

    Raises UserError for another header, a row of another length, and a file that is no UTF-8 text.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(_rows(path, csv.reader(file, strict=True), columns))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; expected UTF-8 text") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _rows(path: Path, reader: Any, columns: Sequence[str]) -> Iterator[CsvRow]:
    try:
        _check_header(path, next(reader, []), columns)
        for cells in reader:
            if len(cells) != len(columns):
                raise UserError(
                    f"{path}, line {reader.line_num}: found {len(cells)} columns; "
                    f"expected {len(columns)}: {', '.join(columns)}"
                )
            yield CsvRow(path, reader.line_num, dict(zip(columns, cells, strict=True)))
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: found {error}; expected comma-separated values"
        ) from None


def _check_header(path: Path, found: Sequence[str], columns: Sequence[str]) -> None:
    for number, expected in enumerate(columns):
        if number >= len(found) or found[number] != expected:
            name = found[number] if number < len(found) else "no column"
            raise UserError(
                f"{path}, line 1, column {number + 1}: found {name!r:.80}; expected {expected!r} "
                f"(all columns: {', '.join(columns)})"
            )
    if len(found) > len(columns):
        raise UserError(
            f"{path}, line 1, column {len(columns) + 1}: found {found[len(columns)]!r:.80}; "
            f"expected no further column after {columns[-1]!r}"
        )
