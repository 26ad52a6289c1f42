"""The published lines: read from a store and from files, joined, and written back."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.leaderboard import MARK, render
from harness.lines import (
    MALFORMED,
    measurement_of,
    read_lines,
    run_of,
    undefined_of,
    write_line,
)
from harness.plan import FAILURE, MEASUREMENT, RUN, UNDEFINED
from harness.records import Line, Measurement, Run, Undefined, merge
from harness.store import CorruptionError, Store

READERS: Mapping[str, Callable[[Mapping[str, Any]], Line]] = {
    RUN: run_of,
    FAILURE: run_of,
    MEASUREMENT: measurement_of,
    UNDEFINED: undefined_of,
}
"""The kinds of the store that hold lines."""


def stored_lines(
    store: Store,
    report: Callable[[str], None],
    steps: Collection[tuple[str, str]] | None = None,
) -> list[Line]:
    """The lines of a store's runs, failed ones too, or of these steps of it.

    A broken result is reported and left out.
    """
    found: list[Line] = []
    for kind, read in READERS.items():
        keys = store.keys(kind) if steps is None else [key for of, key in steps if of == kind]
        for key in keys:
            if not store.has(kind, key):
                continue
            try:
                found.append(read(store.read(kind, key).facts["line"]))
            except CorruptionError as error:
                report(f"left out: {error}; `unlearn run` makes it anew")
            except MALFORMED as error:
                report(f"left out: {kind}/{key} is not a record ({type(error).__name__}: {error})")
    there = {(line.run_id, line.outcome) for line in found if isinstance(line, Run)}
    return merge(
        line
        for line in found
        if not isinstance(line, Measurement) or (line.run_id, line.outcome) in there
    )


def published_lines(out: Path) -> list[Line]:
    """The lines of ``out/records/*.jsonl``; raises UserError for a line that is none."""
    return [
        line
        for path in sorted((out / "records").glob("*.jsonl"))
        for line in read_lines(_records(path), str(path))
    ]


def _records(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 at byte {error.start}; restore the file from git"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def files(lines: Iterable[Line]) -> dict[str, str]:
    """Every file of a leaderboard folder: its records and its pages, by relative path."""
    lines = list(lines)
    name_of = {line.run_id: line.scenario["name"] for line in lines if isinstance(line, Run)}
    scenarios = {*name_of.values()}
    by_scenario: dict[str, list[str]] = defaultdict(list)
    for line in merge(lines):
        name = line.scenario if isinstance(line, Undefined) else name_of.get(line.run_id)
        if name in scenarios:
            by_scenario[str(name)].append(write_line(line))
    records = {
        f"records/{name}.jsonl": "".join(f"{text}\n" for text in texts)
        for name, texts in by_scenario.items()
    }
    return {**records, **render(lines)}


def differing(out: Path, wanted: dict[str, str]) -> list[str]:
    """Relative paths at which the folder is not what is wanted; also of pages to be removed."""
    differ = [name for name, text in wanted.items() if _text(out / name) != text]
    return sorted(differ + stale(out, wanted))


def stale(out: Path, wanted: dict[str, str]) -> list[str]:
    """Generated pages in the folder that no record calls for any more."""
    return [
        path.name
        for path in out.glob("*.md")
        if path.name not in wanted and (_text(path) or "").startswith(MARK)
    ]


def publish(out: Path, wanted: dict[str, str]) -> None:
    """Writes every file that differs, each by one rename, and removes stale pages.

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
    for name in differing(out, wanted):
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
