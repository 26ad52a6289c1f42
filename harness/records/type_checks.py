"""Whether a value from outside has the type that a dataclass's annotations promise."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

LARGEST_INT, LARGEST_FLOAT = 2**63, 1e300


def require_type(what: str, value: Any, hint: Any = None) -> None:
    """Raises TypeError, which names the place, unless the value is of the type, or of its own.

    Looks into dataclasses, mappings and tuples. A float may be an int, and is finite; a bool is no
    number.
    """
    hint = type(value) if hint is None else hint
    if not _test_of(hint)(value):
        _require_parts(what, value, hint)


def _require_parts(what: str, value: Any, hint: Any) -> None:
    """The same, part by part, so that the one at fault is named."""
    if not _is(value, hint):
        expected = hint.__name__ if isinstance(hint, type) else str(hint)
        raise TypeError(f"{what}: expected {expected}; got {value!r:.60}")
    for name, part, expected in _parts(value, hint):
        _require_parts(f"{what}: {name}", part, expected)


@cache
def _test_of(hint: Any) -> Callable[[Any], bool]:
    """A quick test of a type that is made once: records have tens of thousands of lines."""
    if hint in (str, int, float):
        return lambda value: _is(value, hint)
    if hint is types.NoneType:
        return lambda value: value is None
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        tests = [(name, _test_of(part)) for name, part in _fields(hint)]
        return lambda value: (
            type(value) is hint and all(test(getattr(value, name)) for name, test in tests)
        )
    if get_origin(hint) in (Union, types.UnionType):
        choices = [_test_of(choice) for choice in get_args(hint)]
        return lambda value: any(test(value) for test in choices)
    if get_origin(hint) is Mapping:
        item = _test_of(get_args(hint)[1])
        return lambda value: isinstance(value, Mapping) and all(map(item, value.values()))
    return lambda value: (
        _is(value, hint) and all(_test_of(part)(item) for _, item, part in _parts(value, hint))
    )


def _is(value: Any, hint: Any) -> bool:
    if hint is float:
        return _is_number(value, (int, float)) and abs(value) < LARGEST_FLOAT
    if hint is int:
        return _is_number(value, (int,)) and abs(value) < LARGEST_INT
    if hint is str or hint is Any:
        return hint is Any or isinstance(value, str)
    origin = get_origin(hint)
    if origin is Literal:
        return value in get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_is(value, choice) for choice in get_args(hint))
    return isinstance(value, origin or hint)


def _is_number(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _parts(value: Any, hint: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, value and type of what a value consists of; a dataclass is of its own type."""
    if isinstance(value, Mapping) and get_args(hint):
        for key, item in value.items():
            yield str(key), item, get_args(hint)[1]
    elif isinstance(value, tuple) and get_args(hint):
        for number, item in enumerate(value):
            yield str(number), item, get_args(hint)[0]
    elif dataclasses.is_dataclass(value):
        own: Any = type(value)
        for name, expected in _fields(own):
            yield name, getattr(value, name), expected


@cache
def _fields(cls: Any) -> tuple[tuple[str, Any], ...]:
    """Name and type of a dataclass's fields; records have tens of thousands of lines."""
    hints = get_type_hints(cls)
    return tuple((field.name, hints[field.name]) for field in dataclasses.fields(cls))
