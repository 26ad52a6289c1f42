"""What may be the name of a spec, and how a name from outside stands in a page."""

from __future__ import annotations

import re

LONGEST = 100
"""A page's file name has at most 255 bytes, and a derived scenario's name grows."""


def check_name(kind: str, name: str) -> None:
    """Raises ValueError for a name that could not be a page's file name on every system."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise ValueError(
            f"{kind} name {name!r}: expected letters, digits and . _ + -, a letter or a digit first"
        )
    if len(name) > LONGEST:
        raise ValueError(f"{kind} name {name[:20]}…: {len(name)} characters; at most {LONGEST}")


def code(name: str) -> str:
    """Any text as a piece of code in one cell of a Markdown table."""
    ticks = "`" * (1 + max(map(len, re.findall("`+", name)), default=0))
    pad = " " * name.startswith("`") or " " * name.endswith("`")
    text = " ".join(name.split()).replace("|", r"\|")
    return f"{ticks}{pad}{text}{pad}{ticks}"
