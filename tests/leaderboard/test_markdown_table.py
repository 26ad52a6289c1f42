"""A Markdown table is read back, by an independent reader, as the rows that it was made of."""

import pytest
from markdown_it import MarkdownIt

from harness.leaderboard.markdown_table import markdown_table


def read(text):
    """The cells of the table, as a page shows them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    assert [each.type for each in tokens].count("table_open") == 1
    rows, width = [], sum(each.type == "th_open" for each in tokens)
    for each in tokens:
        if each.type == "inline":
            if not rows or len(rows[-1]) == width:
                rows.append([])
            rows[-1].append("".join(child.content for child in each.children))
    return rows


@pytest.mark.parametrize(
    "text",
    ["a|b", "|", "a||b", r"a\|b", "`lr=a|b`", "1 (1–7) of 29", "007", "1e3", "nan", "None", ""],
)
def test_text_of_any_kind_stays_in_its_cell_as_it_is(text):
    table = markdown_table([["before", text, "after"]], ["x", "a|b", "y"])

    assert read(table) == [["x", "a|b", "y"], ["before", text.strip("`"), "after"]]


def test_text_of_several_lines_is_put_on_one():
    assert read(markdown_table([["a\nb  c"]], ["x"])) == [["x"], ["a b c"]]


def test_a_longer_cell_changes_its_own_line_alone():
    short, long = (markdown_table([["a", "b"], [name, "d"]], ["x", "y"]) for name in ("c", "c" * 9))

    assert short.splitlines()[:3] == long.splitlines()[:3]
    assert short.splitlines() == ["| x | y |", "|:--|:--|", "| a | b |", "| c | d |"]


def test_a_table_without_rows_has_its_head():
    assert markdown_table([], ["x", "y"]).splitlines() == ["| x | y |", "|:--|:--|"]
