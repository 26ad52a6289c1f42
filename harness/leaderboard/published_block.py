"""What papers print on a scenario's page, beside our rows; and the page of one without runs. Pure.

Published numbers are marked as such and never ranked: their models and settings are others than
ours.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from harness.leaderboard.cells import NONE, gap_of, mean_sd
from harness.leaderboard.markdown_table import markdown_table
from harness.leaderboard.recomputed import parts, recomputed
from harness.leaderboard.rows import Row
from harness.leaderboard.table import Table
from harness.records.lines import Line, merge
from harness.records.literature import Described, Literature
from harness.specs.published import GAP, Column, Printed, Published

PUBLISHED, OURS = "published", "ours"

INTRODUCTION = (
    f"What papers print, digit by digit. These rows are marked *{PUBLISHED}* and have no rank: "
    "they come from other models, with other settings."
)
BESIDE = f"A row marked *{OURS}* is this page's row of the same method."
AGAIN = (
    "*Recomputed* is the mean absolute difference of the printed means from those of the paper's "
    "retrained model, over the metrics of the gap."
)


def publications(lines: Iterable[Line], literature: Literature) -> list[Published]:
    """All published tables: those of the files in their order, then those of plugins."""
    of_files = {each.name: each for each in literature.tables}
    of_plugins = [line for line in merge(lines) if isinstance(line, Published)]
    return [*of_files.values(), *(each for each in of_plugins if each.name not in of_files)]


def published_block(
    scenario: str, published: Sequence[Published], note: str = "", table: Table | None = None
) -> list[str]:
    """The section of a scenario's page, by paragraphs; empty if there is nothing to show."""
    own = [each for each in published if scenario in each.scenarios]
    if not own and not note:
        return []
    introduction = " ".join([INTRODUCTION, *([BESIDE] if table else []), AGAIN])
    paragraphs = ["## Published", *([note] if note else []), *([introduction] if own else [])]
    for each in own:
        paragraphs += [*_table_of_paper(each, table)]
        # several tables of one paper share remarks: each is made once
        paragraphs += [text for text in _remarks(each, scenario) if text not in paragraphs]
        paragraphs += ["\n".join(notes)] if (notes := _notes(each)) else []
    return [f"{text}\n" for text in paragraphs]


def unmeasured_page(name: str, described: Described, published: Sequence[Published]) -> list[str]:
    """The page of a scenario that has no run of ours yet, by paragraphs."""
    problem = (
        f"Forget {described.forget}. Data set `{described.dataset}`, backbone "
        f"`{described.backbone}`."
    )
    command = (
        "**Not measured yet**: no run of ours is in the records. "
        f"`unlearn run --scenario {name} --data DIR` measures it, with every installed method; "
        "methods that are named before `--scenario` run alone."
    )
    head = [f"# {name}\n", f"{problem}\n", f"{command}\n"]
    return [*head, *published_block(name, published, described.note)]


def _table_of_paper(published: Published, table: Table | None) -> Iterable[str]:
    yield f"### {published.name}"
    yield markdown_table([*_rows(published, table)], ["Method", "Numbers", *_titles(published)])
    yield _source(published)


def _remarks(published: Published, scenario: str) -> Iterable[str]:
    paper = published.paper
    if paper.otherwise:
        yield f"What {paper.key} does differently: {paper.otherwise}"
    if published.otherwise:
        yield f"What {paper.key} does differently in {published.table}: {published.otherwise}"
    if differs := published.scenarios[scenario]:
        yield f"**Not the same problem**: {differs}"


def _titles(published: Published) -> Iterable[str]:
    for column in published.columns:
        yield column.title
        if parts(published, column.metric):
            yield f"{column.title}, recomputed"


def _rows(published: Published, table: Table | None) -> Iterable[list[str]]:
    for method in published.rows:
        yield [method, PUBLISHED, *_printed_cells(published, method)]
        names = published.methods.get(method, ())
        for row in table.rows if table else ():
            if row.method in names and table:
                yield [f"`{row.label}`", OURS, *_our_cells(published, row, table)]


def _printed_cells(published: Published, method: str) -> Iterable[str]:
    numbers = {x.metric: x for x in published.numbers if x.method == method}
    for column in published.columns:
        yield printed(numbers.get(column.metric))
        if parts(published, column.metric):
            yield again(published, method, column)


def printed(number: Printed | None) -> str:
    """As in ``67.4 ± 1.2``, with the printed digits."""
    if number is None:
        return NONE
    return f"{number.mean} ± {number.sd}" if number.sd else number.mean


def again(published: Published, method: str, column: Column) -> str:
    """The recomputed average, with two digits."""
    value = recomputed(published, method, column.metric)
    return NONE if value is None else f"{value:.2f}"


def _our_cells(published: Published, row: Row, table: Table) -> Iterable[str]:
    for column in published.columns:
        yield _our_cell(published, column, row, table)
        if parts(published, column.metric):
            yield NONE


def _our_cell(published: Published, column: Column, row: Row, table: Table) -> str:
    """Our value; of the gap only if both are made of the same metrics."""
    if column.ours == GAP:
        averaged = {each.ours for each in published.columns if each.part_of == column.metric}
        same = averaged == {*table.components} and not row.is_reference
        return gap_of(row) if same else NONE
    measured = row.metrics.get(column.ours)
    return NONE if measured is None else mean_sd(measured.value, digits=1)


def _source(published: Published) -> str:
    paper = published.paper
    title = f"[{paper.title}]({paper.url})" if paper.url else paper.title
    year = str(paper.year or "")
    where = ", ".join(filter(None, [paper.authors, title, year, published.table]))
    return f"Source: {where}; {runs(published.numbers)}; {_spread(published.numbers)}."


def runs(numbers: Iterable[Printed]) -> str:
    """As in ``n = 5``; of several numbers of runs all."""
    counts = {number.n for number in numbers}
    known = sorted(n for n in counts if n is not None)
    text = f"n = {' or '.join(map(str, known))}" if known else ""
    unknown = "number of runs not stated" if None in counts else ""
    return ", elsewhere ".join(filter(None, [text, unknown]))


def _spread(numbers: Iterable[Printed]) -> str:
    kinds = dict.fromkeys(number.spread or "kind not stated" for number in numbers if number.sd)
    return f"±: {', '.join(kinds)}" if kinds else "no spread is printed"


def _notes(published: Published) -> list[str]:
    """A list item for each note, with the cells that it is about."""
    titles = {column.metric: column.title for column in published.columns}
    cells: dict[tuple[str, str], list[str]] = defaultdict(list)
    for number in published.numbers:
        if number.note:
            cells[number.method, number.note].append(titles[number.metric])
    every = Counter(number.method for number in published.numbers)
    notes = []
    for (method, note), where in cells.items():
        of = "" if len(where) == every[method] else f", {'; '.join(where)}"
        notes.append(f"- {method}{of}: {note}")
    return notes
