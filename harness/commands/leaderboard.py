"""``unlearn leaderboard``: takes the store's lines into the records and renders every page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.archive import differing, files, publish, published_lines, stored_lines
from harness.commands import options
from harness.errors import UserError
from harness.records import merge
from harness.store import Store

NAME, HELP = "leaderboard", "render the leaderboards from the records and the store"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where a file would change"
    )
    options.add_out(parser)
    options.add_store(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Writes the files; with ``--check`` 1 where one differs."""
    out = options.folder("--out", arguments.out)
    stored = stored_lines(
        Store(Path(arguments.store)), lambda text: print(f"unlearn: {text}", file=sys.stderr)
    )
    published = published_lines(out)
    if not stored and not published:
        raise UserError(
            f"nothing to render: no run in --store {arguments.store} and no record in "
            f"--out {arguments.out}; `unlearn run` makes some"
        )
    wanted = files(merge(published, stored))
    changed = differing(out, wanted)
    if arguments.check:
        for name in changed:
            print(f"{out / name} differs from the records; `unlearn leaderboard` renders it")
        return 1 if changed else 0
    try:
        publish(out, wanted)
    except OSError as error:
        raise UserError(f"cannot write to --out {out}: {error.strerror}") from None
    pages = sum(name.endswith(".md") for name in wanted)
    print(f"{len(changed)} files changed; {pages} pages in {out}, see {out / 'README.md'}")
    return 0
