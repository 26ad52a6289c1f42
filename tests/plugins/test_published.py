"""A plugin ships the numbers of its own paper: records carry them, and pages need no plugin."""

import shutil

import pytest

from harness import UserError
from harness.cli import main
from harness.plugins.catalog import load_catalog
from harness.records.json_lines import read_lines

PLUGIN = """
from harness import Column, Paper, Printed, Published, hookimpl

COLUMNS = (Column("fa", "Forget (%)", ours="accuracy.forget"),)

@hookimpl
def unlearning_published():
    return [
        Published(
            paper=Paper("mine-2026", "My Paper"),
            table=table,
            dataset="Tiny",
            problem="a net",
            columns=COLUMNS,
            numbers=(Printed("FT", "fa", MEAN, n=3),),
            scenarios={name: ""},
            methods={"FT": ("finetune",)},
        )
        for table, name in (("T1", "tiny"), ("T2", "tiny-long"))
    ]
"""


@pytest.fixture
def shipped(unlearn, work):
    """Runs one replicate with the plugin, which prints this mean."""

    def call(mean):
        (work / "mine.py").write_text(PLUGIN.replace("MEAN", mean))
        words = ("run", "finetune", "--scenario", "tiny", "--replicates", "1", "-p", "mine.py")
        assert unlearn(*words)[0] == 0
        assert unlearn("leaderboard")[0] == 0
        return work / "leaderboards"

    return call


def published_of(folder):
    lines = read_lines((folder / "records" / "tiny.jsonl").read_text(), "").lines
    return [line for line in lines if type(line).__name__ == "Published"]


def test_its_numbers_are_on_the_page_of_the_scenario_that_ran(shipped, unlearn, work):
    folder = shipped('"71.50"')
    shutil.rmtree(work / "runs")
    (work / "mine.py").unlink()

    page = (folder / "tiny.md").read_text()
    assert "### mine-2026 T1: Tiny, a net" in page
    assert "| FT | published | 71.50 |" in page
    assert "| `finetune` | ours |" in page
    assert "T2" not in page
    assert "[a net](tiny.md) | Tiny | Forget (%) 71.50, n = 3;" in (
        folder / "finetune.md"
    ).read_text(encoding="utf-8")
    assert [line.table for line in published_of(folder)] == ["T1"]
    assert unlearn("leaderboard", "--check")[0] == 0


def test_an_edited_number_takes_the_place_of_the_earlier_one(shipped):
    shipped('"71.50"')
    folder = shipped('"72.00"')

    (line,) = published_of(folder)
    assert line.numbers[0].mean == "72.00"


def test_its_table_is_listed(work, unlearn):
    (work / "mine.py").write_text(PLUGIN.replace("MEAN", "1"))

    _, out, _ = unlearn("list", "publications", "-p", "mine.py")

    assert "mine-2026 T1: Tiny, a net" in out
    assert "tiny-long" in out


@pytest.mark.parametrize(
    ("mean", "message"),
    [
        ('"n/a"', "mean must be a finite number; got 'n/a'"),
        ("None", "mean must be a finite number; got None"),
    ],
)
def test_a_number_that_is_none_leaves_the_plugin_out(work, mean, message):
    (work / "mine.py").write_text(PLUGIN.replace("MEAN", mean))

    with pytest.raises(UserError, match=message):
        load_catalog(["mine.py"])


def test_two_plugins_cannot_ship_one_table(work):
    for name in ("mine.py", "other.py"):
        (work / name).write_text(PLUGIN.replace("MEAN", "1"))

    with pytest.raises(UserError, match="two plugins provide a publication named 'mine-2026 T1: "):
        load_catalog(["mine.py", "other.py"])


def test_a_malformed_file_stops_the_leaderboard_with_one_line(work, capsys):
    folder = work / "leaderboards" / "published"
    folder.mkdir(parents=True)
    (folder / "papers.csv").write_text("paper,name\n")

    status = main(["leaderboard"])

    assert status == 2
    err = capsys.readouterr().err
    where = "leaderboards/published/papers.csv, line 1, column 2"
    assert err.startswith(f"unlearn: {where}: found 'name'; expected 'title'")
    assert err.count("\n") == 1
