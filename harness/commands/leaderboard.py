"""``unlearn leaderboard``: adds the store's runs to the records and renders every page."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.errors import UserError
from harness.leaderboard.joining import join
from harness.leaderboard.publish import (
    differing,
    files,
    held,
    literature,
    publish,
    published,
)
from harness.records.lines import Line
from harness.records.store import Store
from harness.records.store_lines import stored_lines
from harness.terminal import say


def execute(arguments: argparse.Namespace) -> int:
    """Writes the files; with ``--check`` writes nothing and returns 1 if one is out of date."""
    if arguments.plugins:
        from harness.commands.plugins import catalog  # noqa: PLC0415 - it needs torch

        catalog(arguments.plugins)
    out = arguments.out
    stored = stored_lines(Store(arguments.store), say)
    if not stored and not [*out.glob("records/*.jsonl"), *out.glob("published/*.csv")]:
        raise UserError(
            f"nothing to render: no run in --store {arguments.store} and no record in "
            f"--out {arguments.out}; start with `unlearn run`"
        )
    if arguments.check:
        _, changed = _joined(out, stored, arguments.replace)
        for name in changed:
            print(f"{out / name} differs from the records; `unlearn leaderboard` updates it")
        return 1 if changed else 0
    try:
        with held(out, say):
            wanted, changed = _joined(out, stored, arguments.replace)
            publish(out, wanted, changed)
            for name in changed:
                if name not in wanted:
                    say(f"removed {out / name}: no page shows a run of it; its records remain")
    except OSError as error:
        raise UserError(f"cannot write to --out {out}: {error.strerror}") from None
    pages = sum(name.endswith(".md") for name in wanted)
    print(f"{len(changed)} files changed; {pages} pages in {out}, see {out / 'README.md'}")
    return 0


def _joined(out: Path, stored: list[Line], replace: list[str]) -> tuple[dict[str, str], list[str]]:
    """The text of every file, and the names of the files that differ from it."""
    existing = published(out, say)
    lines, left_out = join(existing.lines, stored, replace, existing.unread)
    for text in left_out:
        say(text)
    wanted = files(lines, existing, literature(out))
    return wanted, differing(out, wanted, keep=bool(existing.newer))
