"""A leaderboard's folder is read, compared and written without touching what is the user's."""

import subprocess
import sys

import pytest
from machines import references, rows
from scored import scored, summary

from harness import UserError
from harness.leaderboard.publish import differing, files, publish, published_lines
from harness.records.lines import merge

LINES = [*references(range(3)), *rows("m", range(3), 84)]
HEAVY = {"torch", "timm", "torchvision", "sklearn", "optuna", "scipy", "pandas"}


def test_what_was_written_is_read_back_and_differs_in_nothing(tmp_path):
    wanted = files(LINES)

    publish(tmp_path, wanted, wanted)

    assert {*wanted} == {"README.md", "s.md", "m.md", "records/s.jsonl"}
    assert merge(published_lines(tmp_path)) == merge(LINES)
    assert differing(tmp_path, wanted) == []


def test_a_page_that_no_record_calls_for_any_longer_is_removed(tmp_path):
    publish(tmp_path, wanted := files(LINES), wanted)
    fewer = files(references(range(3)))

    changed = differing(tmp_path, fewer)
    publish(tmp_path, fewer, changed)

    assert changed == ["README.md", "m.md", "records/s.jsonl", "s.md"]
    assert not (tmp_path / "m.md").exists()
    assert "m.md" not in differing(tmp_path, fewer, keep=True)


def test_a_file_of_the_users_is_neither_overwritten_nor_removed(tmp_path):
    (tmp_path / "m.md").write_text("my notes")
    (tmp_path / "other.md").write_text("more notes")
    wanted = files(LINES)

    with pytest.raises(UserError, match=r"m\.md was not written by `unlearn leaderboard`"):
        publish(tmp_path, wanted, wanted)

    assert "other.md" not in differing(tmp_path, wanted)
    assert (tmp_path / "m.md").read_text() == "my notes"
    assert not (tmp_path / "s.md").exists()


def test_a_picture_is_removed_with_its_scores_and_one_made_by_hand_stays(tmp_path):
    publish(tmp_path, wanted := files(scored(LINES, lambda _: summary())), wanted)
    (tmp_path / "gaps.svg").write_text("<svg/>")
    fewer = files(LINES)

    changed = differing(tmp_path, fewer)
    publish(tmp_path, fewer, changed)

    assert changed == ["records/s.jsonl", "s-attack.svg", "s.md"]
    assert not (tmp_path / "s-attack.svg").exists()
    assert (tmp_path / "gaps.svg").read_text() == "<svg/>"


def test_a_picture_of_the_users_is_not_overwritten(tmp_path):
    (tmp_path / "s-attack.svg").write_text("<svg/>")
    wanted = files(scored(LINES, lambda _: summary()))

    with pytest.raises(UserError, match=r"s-attack\.svg was not written by `unlearn leaderboard`"):
        publish(tmp_path, wanted, wanted)

    assert not (tmp_path / "s.md").exists()


def test_records_that_are_no_text_are_named(tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "s.jsonl").write_bytes(b"{}\n\xff")

    with pytest.raises(UserError, match=r"s\.jsonl: not UTF-8 at byte 3; restore the file from g"):
        published_lines(tmp_path)


def test_pages_are_rendered_without_torch_and_the_room_is_imported_without_pandas_and_scipy():
    program = (
        "import sys; from harness.leaderboard import frame, joining, publish; "
        "print(*sys.modules); publish.files([]); print(*sys.modules)"
    )

    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    imported, rendered = ({*line.split()} & HEAVY for line in out.splitlines())

    assert imported == set()
    assert rendered == {"pandas"}
