"""The error for a user's mistakes, and the closest match to a wrong name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A user's mistake: the command line prints it in one line and exits with status 2."""


class UnknownNameError(UserError):
    """A name that nothing has."""


NEAR = 0.8
"""From this similarity on, a name is taken for a misspelling: one or two letters are wrong."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for an unknown name; it suggests the closest known names, or lists them all.

    If the name is nearly that of one of them, it suggests no other.
    """
    names = sorted(known)
    lowered = {known_name.lower(): known_name for known_name in names}
    near = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)
    if near and difflib.SequenceMatcher(None, near[0], name.lower()).ratio() >= NEAR:
        near = near[:1]
    if near:
        hint = "did you mean " + " or ".join(repr(lowered[match]) for match in near) + "?"
    elif len(names) <= 30:
        hint = f"known: {', '.join(names) or 'none'}"
    else:
        hint = f"no close match among the {len(names)} known names"
    return UnknownNameError(f"unknown {kind} {name!r}; {hint}")
