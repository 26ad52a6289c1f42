"""Reads ``published/*.csv``: numbers that papers and a catalogue print, and where they belong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.records.csv_rows import CsvRow, Name, WholeText, csv_rows
from harness.records.literature import Described, Listed, Literature
from harness.specs.checks import OneOf, Text, Whole
from harness.specs.published import ANY_TEXT, Column, Digits, Paper, Printed, Published

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "papers": ("paper", "title", "authors", "year", "url", "otherwise"),
    "metrics": ("metric", "title", "unit", "ours", "part_of"),
    "methods": ("paper", "printed", "ours"),
    "scenarios": ("scenario", "dataset", "backbone", "forget", "note", "page"),
    "tables": (
        *("paper", "table", "published", "retain_access"),
        *("scenario", "differs", "otherwise"),
    ),
    "catalogue": ("method", "task", "dataset", "metric", "value", "rank", "scenario", "note"),
}
"""File → its columns; every other file holds the numbers of the paper that it is named after."""

NUMBER_COLUMNS = (
    *("paper", "table", "scenario", "dataset", "backbone", "forget", "retain_access"),
    *("method", "metric", "unit", "mean", "sd", "n", "spread", "note"),
)

PAGE = OneOf(("always", "measured"))
"""When a scenario has a page: always, or only once a run of ours is in the records."""

ACCESS = OneOf(("yes", "no", "both"))
"""Whether the setting of a table hands over the retain set; both: one row for two settings."""


def read_literature(folder: Path) -> Literature:
    """What the files of a folder hold; of no folder nothing.

    Raises UserError that names the file, the line and the column of the first mistake.
    """
    files = {name: csv_rows(folder / f"{name}.csv", COLUMNS[name]) for name in COLUMNS}
    papers = _unique(files["papers"], "paper", _paper)
    metrics = _unique(files["metrics"], "metric", _column)
    scenarios = _unique(files["scenarios"], "scenario", _described)
    units = {row["metric"]: row["unit"] for row in files["metrics"]}
    _check_files(folder, papers)
    numbers = {
        paper: _numbers(csv_rows(folder / f"{paper}.csv", NUMBER_COLUMNS), paper, units)
        for paper in papers
    }
    for row in files["papers"]:
        if not numbers[row["paper"]]:
            raise row.error("paper", f"a paper whose numbers are in {row['paper']}.csv beside it")
    methods = _methods(files["methods"], numbers)
    reading = _Tables(papers, metrics, methods, numbers)
    _require_known(files["tables"], "scenario", ["", *scenarios])
    _require_known(files["tables"], "paper", papers)
    _require_known(files["catalogue"], "scenario", scenarios)
    return Literature(
        tables=tuple(reading.tables(files["tables"])),
        scenarios=scenarios,
        catalogue=tuple(map(_listed, files["catalogue"])),
    )


def _check_files(folder: Path, papers: Mapping[str, Paper]) -> None:
    for path in sorted(folder.glob("*.csv")):
        if path.stem not in {*COLUMNS, *papers}:
            raise UserError(
                f"{path}: found no paper {path.stem!r} in papers.csv; expected the file to be "
                f"named after one of {', '.join(papers) or 'its papers'}"
            )


def _unique(rows: Iterable[CsvRow], key: str, make: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for row in rows:
        if row[key] in found:
            raise row.error(key, "each only once")
        found[row[key]] = make(row)
    return found


def _paper(row: CsvRow) -> Paper:
    return Paper(
        key=row.take("paper", Name()),
        title=row.take("title", Text()),
        authors=row["authors"],
        year=row.take("year", WholeText(Whole(1950, 2200))),
        url=row["url"],
        otherwise=row["otherwise"],
    )


def _column(row: CsvRow) -> Column | None:
    """None for a metric that has no title: pages leave it off."""
    metric = row.take("metric", Text())
    row.take("unit", Text())
    return Column(metric, row["title"], row["ours"], row["part_of"]) if row["title"] else None


def _described(row: CsvRow) -> Described:
    row.take("scenario", Name())
    return Described(
        dataset=row.take("dataset", Text()),
        backbone=row.take("backbone", Text()),
        forget=row.take("forget", Text()),
        note=row["note"],
        waits=row.take("page", PAGE) == "measured",
    )


def _listed(row: CsvRow) -> Listed:
    return Listed(
        method=row.take("method", Name()),
        task=row.take("task", Text()),
        dataset=row.take("dataset", Text()),
        metric=row["metric"],
        value=row.take("value", Digits(empty=True)),
        rank=row.take("rank", WholeText(Whole(1))),
        scenario=row["scenario"],
        note=row["note"],
    )


def _require_known(rows: Iterable[CsvRow], column: str, known: Iterable[str]) -> None:
    names = [*known]
    for row in rows:
        if row[column] not in names:
            raise row.error(column, f"one of {', '.join(filter(None, names))}")


def _methods(
    rows: Iterable[CsvRow], numbers: Mapping[str, list[CsvRow]]
) -> dict[tuple[str, str], tuple[str, ...]]:
    """(paper, printed method) → ours."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        printed = dict.fromkeys(number["method"] for number in numbers.get(row["paper"], ()))
        _require_known([row], "paper", numbers)
        _require_known([row], "printed", printed)
        found[row["paper"], row["printed"]].append(row.take("ours", Name()))
    return {key: tuple(names) for key, names in found.items()}


def _numbers(rows: list[CsvRow], paper: str, units: Mapping[str, str]) -> list[CsvRow]:
    """The rows themselves, once each of them is checked."""
    lines: dict[tuple[str, ...], int] = {}
    for row in rows:
        _require_known([row], "paper", [paper])
        for column in ("table", "scenario", "dataset", "forget", "method"):
            row.take(column, Text())
        row.take("retain_access", ACCESS)
        _require_known([row], "metric", units)
        _require_known([row], "unit", [units[row["metric"]]])
        _printed(row)
        key = tuple(row[c] for c in ("table", "scenario", "retain_access", "method", "metric"))
        if key in lines:
            raise row.error("metric", f"a number that no other line has; line {lines[key]} has it")
        lines[key] = row.line
    return rows


def _printed(row: CsvRow) -> Printed:
    return Printed(
        method=row["method"],
        metric=row["metric"],
        mean=row.take("mean", Digits()),
        sd=row.take("sd", Digits(empty=True)),
        n=row.take("n", WholeText(Whole(1))),
        spread=row.take("spread", ANY_TEXT),
        note=row["note"],
    )


@dataclass(frozen=True)
class _Tables:
    """Puts numbers together to the tables that pages show."""

    papers: Mapping[str, Paper]
    metrics: Mapping[str, Column | None]
    methods: Mapping[tuple[str, str], tuple[str, ...]]
    numbers: Mapping[str, list[CsvRow]]

    def tables(self, rows: Iterable[CsvRow]) -> Iterable[Published]:
        """A table for each that is placed; its places may stand in several rows."""
        grouped: dict[tuple[str, ...], list[CsvRow]] = defaultdict(list)
        for row in rows:
            row.take("retain_access", ACCESS)
            key = tuple(row[c] for c in ("paper", "table", "published", "retain_access"))
            grouped[key].append(row)
        return [self._table(own) for own in grouped.values()]

    def _table(self, places: list[CsvRow]) -> Published:
        place = places[0]
        wanted = [
            row
            for row in self.numbers[place["paper"]]
            if row["table"] in place["table"].split("+")
            and row["scenario"] == place["published"]
            and row["retain_access"] == place["retain_access"]
        ]
        shown = [row for row in wanted if self.metrics[row["metric"]] is not None]
        if not shown or {row["table"] for row in wanted} != {*place["table"].split("+")}:
            raise place.error(
                "table",
                f"tables with numbers on {place['published']!r} where the access to the retain "
                f"set is {place['retain_access']!r}, joined by +",
            )
        first = shown[0]
        printed = {row["metric"] for row in shown}
        access = "" if first["retain_access"] == "yes" else ", without the retain set"
        return Published(
            paper=self.papers[place["paper"]],
            table=place["table"],
            dataset=first["dataset"],
            problem=", ".join(filter(None, (first["backbone"], first["forget"]))) + access,
            columns=tuple(self._columns(printed)),
            numbers=tuple(_printed(row) for row in shown),
            scenarios={row["scenario"]: row["differs"] for row in places if row["scenario"]},
            methods={
                name: self.methods[place["paper"], name]
                for name in dict.fromkeys(row["method"] for row in shown)
                if (place["paper"], name) in self.methods
            },
            otherwise=" ".join(dict.fromkeys(row["otherwise"] for row in places)).strip(),
        )

    def _columns(self, printed: set[str]) -> Iterable[Column]:
        """The columns of these metrics; an average that is not printed has no parts."""
        for metric, column in self.metrics.items():
            if column is not None and metric in printed:
                part_of = column.part_of if column.part_of in printed else ""
                yield Column(metric, column.title, column.ours, part_of)
