"""Pages and records on disk: what is written, checked, removed and never touched."""

import json
import shutil
from collections import Counter

import pytest
from scored import scored, summary
from suites import pages
from worlds import world

from harness.leaderboard.publish import files, publish


def test_the_check_passes_on_what_was_rendered_and_fails_on_an_edit(unlearn, finished, work):
    unlearn("leaderboard")
    clean = unlearn("leaderboard", "--check")[0]
    page = work / "leaderboards" / "tiny.md"
    page.write_text(page.read_text().replace("100", "99"))

    status, out, _ = unlearn("leaderboard", "--check")

    assert clean == 0
    assert status == 1
    assert "tiny.md differs" in out
    assert "99" in page.read_text()


def test_the_check_fails_on_an_edited_picture_and_on_one_that_nothing_calls_for(unlearn, work):
    out = work / "leaderboards"
    publish(out, wanted := files(scored(world({"m": 0}), lambda _: summary())), wanted)
    clean = unlearn("leaderboard", "--check")[0]
    drawn = (out / "s-attack.svg").read_text()
    (out / "s-attack.svg").write_text(drawn.replace("#d55e00", "#ff0000"))
    (out / "s-old.svg").write_text(drawn)
    (out / "gaps.svg").write_text("<svg/>")

    status, told, _ = unlearn("leaderboard", "--check")
    unlearn("leaderboard")

    assert (clean, status) == (0, 1)
    assert "s-attack.svg differs" in told
    assert "s-old.svg differs" in told
    assert "gaps.svg" not in told
    assert {path.name for path in out.glob("*.svg")} == {"gaps.svg", "s-attack.svg"}
    assert (out / "s-attack.svg").read_text() == drawn


def test_records_outlive_the_store_and_nothing_is_doubled(unlearn, finished, work):
    unlearn("leaderboard")
    before = pages("leaderboards")
    shutil.rmtree(work / "runs")
    alone = unlearn("leaderboard", "--check")[0]

    unlearn("run", "--suite", "tiny-suite")
    unlearn("leaderboard")

    records = (work / "leaderboards" / "records" / "tiny.jsonl").read_text().splitlines()
    assert alone == 0
    kinds = Counter(json.loads(each)["kind"] for each in records)
    assert kinds == {"run": 12, "measurement": 48, "definition": 4}
    assert pages("leaderboards").keys() == before.keys()


def test_a_page_that_no_record_calls_for_any_more_is_removed(unlearn, finished, work):
    unlearn("leaderboard")
    stale, own = work / "leaderboards" / "old.md", work / "leaderboards" / "notes.md"
    stale.write_text((work / "leaderboards" / "tiny.md").read_text())
    own.write_text("my own notes")

    assert unlearn("leaderboard", "--check")[0] == 1
    unlearn("leaderboard")
    assert not stale.exists()
    assert own.exists()


@pytest.mark.parametrize("out", [".", "./."])
def test_a_page_never_takes_the_place_of_a_foreign_file(unlearn, finished, work, out):
    (work / "README.md").write_bytes(b"My own words, in Latin-1: \xe9t\xe9")

    status, _, err = unlearn("leaderboard", "--out", out)

    assert status == 2
    assert err.startswith("unlearn: README.md was not written by `unlearn leaderboard`")
    assert err.count("\n") == 1
    assert b"My own words" in (work / "README.md").read_bytes()
    assert not (work / "records").exists()
    assert not (work / "tiny.md").exists()


def test_a_folder_or_a_text_in_another_code_among_the_pages_is_left_alone(unlearn, finished, work):
    unlearn("leaderboard")
    (work / "leaderboards" / "folder.md").mkdir()
    (work / "leaderboards" / "latin.md").write_bytes(b"\xe9t\xe9")

    assert unlearn("leaderboard", "--check")[0] == 0
    assert unlearn("leaderboard")[0] == 0
    assert (work / "leaderboards" / "latin.md").exists()


def test_records_in_another_code_are_told_in_one_line(unlearn, work):
    (work / "leaderboards" / "records").mkdir(parents=True)
    (work / "leaderboards" / "records" / "s.jsonl").write_bytes(b'{"kind": "\xe9"}')

    status, _, err = unlearn("leaderboard")

    assert status == 2
    assert "s.jsonl: not UTF-8 at byte 10" in err
    assert err.count("\n") == 1


def test_a_strangers_record_writes_nothing_outside_the_folder(unlearn, finished, work):
    unlearn("leaderboard")
    path = work / "leaderboards" / "records" / "tiny.jsonl"
    path.write_text(path.read_text().replace('"name": "tiny"', '"name": "../../evil"'))

    status, _, err = unlearn("leaderboard", "--store", "none")

    assert status == 2
    assert "tiny.jsonl, line" in err
    assert not list(work.parent.glob("**/evil*"))


def test_a_broken_file_is_left_out_of_the_leaderboard_and_reported(unlearn, finished, work):
    path = sorted(work.glob("runs/runs/*/facts.json"))[0]
    path.write_text("{")

    status, _, err = unlearn("leaderboard")

    assert status == 0
    assert str(path.relative_to(work)) in err
