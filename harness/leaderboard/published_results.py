"""What papers and a catalogue print on a method's page. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from harness.leaderboard.cells import NONE
from harness.leaderboard.markdown_table import markdown_table
from harness.leaderboard.published_block import again, printed, runs
from harness.leaderboard.recomputed import parts
from harness.records.literature import Listed
from harness.specs.published import GAP, Published

HEAD = ("Task", "Dataset", "Result", "Rank")

LISTED = (
    "A catalogue of published results lists the method so; task, value and rank are as printed "
    "there, and not comparable with ours."
)
PAPERS = (
    "Papers print these numbers of the method. Each task links to the page that has the whole "
    "table; no published row is ranked. A recomputed gap is made from the printed means of its row."
)


def published_results(
    method: str,
    published: Iterable[Published],
    catalogue: Iterable[Listed],
    pages: Collection[str],
) -> list[str]:
    """The section of a method's page, by paragraphs; empty if there is nothing to show.

    ``pages`` names the scenarios that have a page.
    """
    listed = [each for each in catalogue if each.method == method]
    of_papers = [row for each in published for row in _of_paper(each, method, pages)]
    paragraphs = []
    if listed:
        paragraphs += [LISTED, markdown_table([*map(_listed, listed)], HEAD)]
        paragraphs += dict.fromkeys(each.note for each in listed if each.note)
    if of_papers:
        paragraphs += [PAPERS, markdown_table(of_papers, HEAD)]
    return [f"{text}\n" for text in ["## Published", *paragraphs]] if paragraphs else []


def _listed(row: Listed) -> list[str]:
    result = f"{row.metric} {row.value}".strip() or "no value"
    rank = NONE if row.rank is None else str(row.rank)
    return [f"[{row.task}]({row.scenario}.md)", row.dataset, f"{result} (published)", rank]


def _of_paper(published: Published, method: str, pages: Collection[str]) -> Iterable[list[str]]:
    page = next((name for name in published.scenarios if name in pages), "")
    task = f"[{published.problem}]({page}.md)" if page else published.problem
    for name in published.rows:
        if method in published.methods.get(name, ()):
            found = [*_results(published, name)]
            result = f"{', '.join(found)}, {_source(published, name)} (published)"
            yield [task, published.dataset, result, NONE]


def _results(published: Published, method: str) -> Iterable[str]:
    """The first metric and the averages, which are what papers conclude from."""
    numbers = {x.metric: x for x in published.numbers if x.method == method}
    shown = [c for c in published.columns if parts(published, c.metric) or c.ours == GAP]
    for column in dict.fromkeys([published.columns[0], *shown]):
        text = f"{column.title} {printed(numbers.get(column.metric))}"
        value = again(published, method, column)
        yield text if value == NONE else f"{text} (recomputed {value})"


def _source(published: Published, method: str) -> str:
    paper = published.paper
    key = f"[{paper.key}]({paper.url})" if paper.url else paper.key
    return f"{runs([x for x in published.numbers if x.method == method])}; {key}, {published.table}"
