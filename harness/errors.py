"""The error for a user's mistakes, and the closest match to a wrong name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A user's mistake: the command line prints it in one line and exits with status 2."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for an unknown name; it suggests the closest known names, or lists them all."""
    names = sorted(known)
    lowered = {known_name.lower(): known_name for known_name in names}
    near = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)
    if near:
        hint = "did you mean " + " or ".join(repr(lowered[match]) for match in near) + "?"
    elif len(names) <= 30:
        hint = f"known: {', '.join(names) or 'none'}"
    else:
        hint = f"no close match among the {len(names)} known names"
    return UserError(f"unknown {kind} {name!r}; {hint}")
