"""Valid names of specs, and how pages print names from outside."""

from __future__ import annotations

import re

LONGEST = 100
"""Characters. A page's file name is limited to 255 bytes, and derived scenarios add to a name."""


def check_name(kind: str, name: str) -> None:
    """Raises ValueError if a page's file could not have this name on every system."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise ValueError(
            f"{kind} name {name!r}: expected letters, digits and . _ + -, starting with a letter "
            f"or digit"
        )
    if len(name) > LONGEST:
        raise ValueError(f"{kind} name {name[:20]}…: {len(name)} characters; at most {LONGEST}")


def code(name: str) -> str:
    """Text as inline code that fits in one cell of a Markdown table."""
    ticks = "`" * (1 + max(map(len, re.findall("`+", name)), default=0))
    pad = " " * name.startswith("`") or " " * name.endswith("`")
    text = " ".join(name.split()).replace("|", r"\|")
    return f"{ticks}{pad}{text}{pad}{ticks}"
