"""Whether a value from outside has the type that a dataclass's annotations promise."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

LARGEST_INT, LARGEST_FLOAT = 2**63, 1e300


def require_type(what: str, value: Any, hint: Any = None) -> None:
    """Raises TypeError, which names the place, unless the value is of the type, or of its own.

    Looks into dataclasses, mappings and tuples. A float may be an int, and is finite; a bool is no
    number.
    """
    hint = type(value) if hint is None else hint
    if not _is(value, hint):
        expected = hint.__name__ if isinstance(hint, type) else str(hint)
        raise TypeError(f"{what}: expected {expected}; got {value!r:.60}")
    for name, part, expected in _parts(value, hint):
        require_type(f"{what}: {name}", part, expected)


def _is(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_is(value, choice) for choice in get_args(hint))
    if hint is float:
        return _is_number(value, int | float) and abs(value) < LARGEST_FLOAT
    if hint is int:
        return _is_number(value, int) and abs(value) < LARGEST_INT
    return isinstance(value, origin or hint)


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _parts(value: Any, hint: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, value and type of what a value consists of; a dataclass is of its own type."""
    if isinstance(value, Mapping) and get_args(hint):
        for key, item in value.items():
            yield str(key), item, get_args(hint)[1]
    elif isinstance(value, tuple) and get_args(hint):
        for number, item in enumerate(value):
            yield str(number), item, get_args(hint)[0]
    elif dataclasses.is_dataclass(value):
        hints = get_type_hints(type(value))
        for field in dataclasses.fields(value):
            yield field.name, getattr(value, field.name), hints[field.name]
