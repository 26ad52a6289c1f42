"""A leaderboard's folder: its records and published numbers are read, its pages written."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from filelock import FileLock, Timeout

from harness.errors import UserError
from harness.leaderboard.pages import MARK, render
from harness.leaderboard.tunings import Tunings
from harness.records.json_lines import read_lines, write_line
from harness.records.lines import Definition, Line, Measurement, Run, Undefined, merge
from harness.records.literature import Literature
from harness.records.published import read_literature
from harness.records.tuned import FOLDER, read
from harness.records.versions import newer_text
from harness.specs.published import Published

LOCK = ".lock"
"""In a leaderboard's folder: held from reading its records to writing its pages."""

RENDERED = (".md", ".svg")
"""The suffixes of pages and pictures; each starts with ``MARK``."""


class Folder(NamedTuple):
    """The records that a leaderboard's folder holds."""

    lines: list[Line]
    newer: Mapping[str, Sequence[str]]
    """File of records, less its suffix → its lines that a newer version wrote."""
    tunings: Tunings = MappingProxyType({})
    """The content of the files of tuned settings."""

    @property
    def unread(self) -> dict[str, str]:
        """``run_id`` → file, of the runs that such lines are about."""
        ids = (
            (json.loads(raw).get("run_id"), name) for name in self.newer for raw in self.newer[name]
        )
        return {run_id: name for run_id, name in ids if isinstance(run_id, str)}


def published_lines(out: Path) -> list[Line]:
    """The lines of ``out/records/*.jsonl``; raises UserError for an invalid one."""
    return published(out, lambda _: None).lines


def published(out: Path, report: Callable[[str], None]) -> Folder:
    """All that pages are rendered from, except what papers print.

    Lines that a newer version wrote are reported once a file. Raises UserError for an invalid file.
    """
    lines: list[Line] = []
    newer: dict[str, list[str]] = {}
    for path in sorted((out / "records").glob("*.jsonl")):
        known, unread = read_lines(_records(path), str(path))
        lines += known
        if unread:
            newer[path.stem] = sorted({*unread})
            report(newer_text(len(unread), f"lines of {path}"))
    tunings = {path.stem: read(out / FOLDER, path.stem) for path in (out / FOLDER).glob("*.json")}
    return Folder(lines, newer, tunings)


def literature(out: Path) -> Literature:
    """What ``out/published/*.csv`` hold; raises UserError for an invalid one."""
    return read_literature(out / "published")


def _records(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 at byte {error.start}; restore the file from git"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def files(
    lines: Iterable[Line], before: Folder | None = None, literature: Literature | None = None
) -> dict[str, str]:
    """Every file that is written to a leaderboard's folder: records, pages and pictures.

    The keys are relative paths. The lines in ``before`` that a newer version wrote stay as they
    are, at the end of their file.
    """
    lines = merge(lines)
    before = before or Folder([], {})
    runs = {line.run_id: line.scenario.name for line in lines if isinstance(line, Run)}
    name_of = {**before.unread, **runs}
    names = {*runs.values(), *before.newer}
    by_file: dict[str, list[str]] = defaultdict(list)
    measured_in: dict[tuple[str, int], set[str]] = defaultdict(set)
    for line in lines:
        if isinstance(line, Measurement) and line.run_id in name_of:
            measured_in[line.protocol, line.version].add(name_of[line.run_id])
    for line in lines:
        for name in _homes(line, name_of, measured_in) & names:
            by_file[name].append(write_line(line))
    for name, unread in before.newer.items():
        by_file[name] += unread
    records = {
        f"records/{name}.jsonl": "".join(f"{text}\n" for text in texts)
        for name, texts in by_file.items()
    }
    return {**records, **render(lines, literature, before.tunings)}


def _homes(
    line: Line, name_of: Mapping[str, str], measured_in: Mapping[tuple[str, int], set[str]]
) -> set[str]:
    """The scenarios in whose files of records a line stands."""
    if isinstance(line, Definition):
        return measured_in.get((line.protocol, line.version), set())
    if isinstance(line, Undefined):
        return {line.scenario}
    if isinstance(line, Published):
        return {*line.scenarios}
    return {name_of[line.run_id]} if line.run_id in name_of else set()


@contextmanager
def held(out: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Holds the folder for this process alone.

    Waits for another command that holds it, and says so once. Raises OSError if the folder cannot
    be written to.
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
    """Relative paths of the files that have to change, those to be removed among them.

    With ``keep`` none is removed: records of a newer version may call for pages that this version
    does not know.
    """
    differ = [name for name, text in wanted.items() if _text(out / name) != text]
    return sorted(differ + ([] if keep else stale(out, wanted)))


def stale(out: Path, wanted: Mapping[str, str]) -> list[str]:
    """Generated pages and pictures in the folder that no record calls for any longer."""
    return [
        path.name
        for suffix in RENDERED
        for path in out.glob(f"*{suffix}")
        if path.name not in wanted and (_text(path) or "").startswith(MARK)
    ]


def publish(out: Path, wanted: Mapping[str, str], changed: Iterable[str]) -> None:
    """Writes every ``changed`` file by one rename, and removes those that are not wanted.

    Raises UserError, before anything is written, if a page or picture would replace a file of the
    user's.
    """
    for name in wanted:
        path = out / name
        if name.endswith(RENDERED) and path.exists() and not (_text(path) or "").startswith(MARK):
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
    """The text of a file, if there is one; bytes that are not UTF-8 are replaced."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
