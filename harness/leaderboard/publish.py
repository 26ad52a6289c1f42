"""The published lines: read from a store and from files, joined, and written back."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from harness.errors import UserError
from harness.leaderboard.pages import MARK, render
from harness.records.lines import Definition, Line, Measurement, Run, Undefined, merge
from harness.records.parsing import read_lines, write_line
from harness.records.versions import newer_text

LOCK = ".lock"
"""In a leaderboard's folder: who holds it joins and writes."""


class Published(NamedTuple):
    """What a leaderboard's folder holds."""

    lines: list[Line]
    newer: Mapping[str, Sequence[str]]
    """File of records, less its suffix → its lines that a newer version wrote."""

    @property
    def unread(self) -> dict[str, str]:
        """Run → file, of the runs that such lines are about."""
        ids = (
            (json.loads(raw).get("run_id"), name) for name in self.newer for raw in self.newer[name]
        )
        return {run_id: name for run_id, name in ids if isinstance(run_id, str)}


def published_lines(out: Path) -> list[Line]:
    """The lines of ``out/records/*.jsonl``; raises UserError for a line that is none."""
    return published(out, lambda _: None).lines


def published(out: Path, report: Callable[[str], None]) -> Published:
    """The same with those that a newer version wrote, which are reported once a file."""
    found = Published([], newer := {})
    for path in sorted((out / "records").glob("*.jsonl")):
        lines, unread = read_lines(_records(path), str(path))
        found.lines.extend(lines)
        if unread:
            newer[path.stem] = sorted({*unread})
            report(newer_text(len(unread), f"lines of {path}"))
    return found


def _records(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 at byte {error.start}; restore the file from git"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def files(lines: Iterable[Line], before: Published | None = None) -> dict[str, str]:
    """Every file of a leaderboard folder: its records and its pages, by relative path.

    What a newer version wrote of ``before`` stands as it was at the end of its file.
    """
    lines, before = list(lines), before or Published([], {})
    runs = {line.run_id: line.scenario.name for line in lines if isinstance(line, Run)}
    name_of = {**before.unread, **runs}
    names = {*runs.values(), *before.newer}
    by_file: dict[str, list[str]] = defaultdict(list)
    lines = merge(lines)
    measured = {
        (name_of.get(x.run_id), x.protocol, x.version) for x in lines if isinstance(x, Measurement)
    }
    for line in lines:
        if isinstance(line, Definition):
            for own in names:
                if (own, line.protocol, line.version) in measured:
                    by_file[own].append(write_line(line))
            continue
        name = line.scenario if isinstance(line, Undefined) else name_of.get(line.run_id)
        if name in names:
            by_file[str(name)].append(write_line(line))
    for name, unread in before.newer.items():
        by_file[name] += unread
    records = {
        f"records/{name}.jsonl": "".join(f"{text}\n" for text in texts)
        for name, texts in by_file.items()
    }
    return {**records, **render(lines)}


@contextmanager
def held(out: Path, report: Callable[[str], None]) -> Iterator[None]:
    """The folder for this process alone, from reading its records to writing its pages.

    Waits for another command that holds it, and says so once. Raises OSError where the folder
    cannot be written to.
    """
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report(f"waiting for another `unlearn leaderboard` that writes to {out}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def differing(out: Path, wanted: Mapping[str, str], *, keep: bool = False) -> list[str]:
    """Relative paths at which the folder is not what is wanted; also of pages to be removed.

    Unless ``keep``: records of a newer version may call for pages that this one does not know.
    """
    differ = [name for name, text in wanted.items() if _text(out / name) != text]
    return sorted(differ + ([] if keep else stale(out, wanted)))


def stale(out: Path, wanted: Mapping[str, str]) -> list[str]:
    """Generated pages in the folder that no record calls for any more."""
    return [
        path.name
        for path in out.glob("*.md")
        if path.name not in wanted and (_text(path) or "").startswith(MARK)
    ]


def publish(out: Path, wanted: Mapping[str, str], changed: Iterable[str]) -> None:
    """Writes every file that is ``changed``, each by one rename, and removes what is not wanted.

    Raises UserError, before anything is written, where a page would replace what is no page.
    """
    for name in wanted:
        path = out / name
        if name.endswith(".md") and path.exists() and not (_text(path) or "").startswith(MARK):
            raise UserError(
                f"{path} was not written by `unlearn leaderboard` and would be lost; move it, or "
                f"name another folder with --out"
            )
    (out / "records").mkdir(parents=True, exist_ok=True)
    for name in changed:
        path = out / name
        if name not in wanted:
            path.unlink()
            continue
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(wanted[name], encoding="utf-8")
        draft.replace(path)


def _text(path: Path) -> str | None:
    """The text of a file; none where there is none, and what is not UTF-8 is replaced."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
