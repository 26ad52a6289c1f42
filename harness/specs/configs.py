"""Checks of a method's config and its search space: every setting must fit in a record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any

from harness.specs.checks import instance_of, number_of, shown
from harness.specs.search import Choice, Setting, Span


def require_no_negative(config: object) -> None:
    """Raises ValueError for a negative or nan setting; for use in a config's ``__post_init__``."""
    for name, value in vars(config).items():
        if isinstance(value, int | float) and not value >= 0:
            raise ValueError(f"{name} must not be negative; got {value}")


def checked_config(what: str, config: Any) -> Any:
    """A method's config, with numbers of NumPy and torch converted to Python numbers.

    Raises TypeError if the config is not a frozen dataclass, if a record cannot store a setting, or
    if a setting is annotated as a number but is not one.
    """
    if not is_dataclass(config) or isinstance(config, type):
        hint = f"; write {instance_of(config)}" if isinstance(config, type) else ""
        raise TypeError(
            f"{what}: config must be an instance of a frozen dataclass; got {shown(config)}{hint}"
        )
    if not type(config).__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise TypeError(f"{what}: its config's dataclass must be frozen")
    given = {each.name: getattr(config, each.name) for each in fields(config)}
    numbers = {name: _number(value) for name, value in given.items()}
    changed = {name: number for name, number in numbers.items() if number is not given[name]}
    config = replace(config, **changed) if changed else config
    annotations = {each.name: each.type for each in fields(config)}
    for name, value in asdict(config).items():
        _check_setting(f"{what}: its config's {name}", value, annotations[name])
    return config


def _number(value: Any) -> Any:
    try:
        return value if isinstance(value, bool) else number_of(value)
    except (TypeError, ValueError):
        return value


def _check_setting(what: str, value: Any, annotation: Any) -> None:
    whole = annotation in (int, "int")
    real = annotation in (float, "float")
    if (whole or real) and (isinstance(value, bool | str) or (whole and isinstance(value, float))):
        raise TypeError(f"{what} must be a {'whole ' * whole}number; got {shown(value)}")
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError):
        raise TypeError(
            f"{what} is {value!r:.60}; expected finite numbers, strings, booleans, None, or lists, "
            f"tuples and mappings of these"
        ) from None


def check_search(what: str, config: Any, search: Mapping[str, Setting]) -> None:
    """Raises ValueError or TypeError if the search space does not fit the config."""
    if not isinstance(search, Mapping):
        raise TypeError(f"{what}: search must map settings to Span or Choice; got {shown(search)}")
    settings = vars(config)
    for name, setting in search.items():
        if name not in settings:
            raise ValueError(
                f"{what}: its search space names {name!r}, which its config lacks; "
                f"settings: {', '.join(settings)}"
            )
        if not isinstance(setting, Span | Choice):
            raise TypeError(
                f"{what}: search[{name!r}] must be a Span or a Choice; got {shown(setting)}"
            )
        if isinstance(setting, Span):
            _check_span(f"{what}: search[{name!r}]", setting, settings[name])
        for value in setting.values():
            replace(config, **{name: value})


def _check_span(what: str, span: Span, default: Any) -> None:
    """Raises TypeError unless the span's values are of the default's type."""
    if isinstance(default, bool | str):
        raise TypeError(f"{what} is a Span, but the setting is {shown(default)}; give a Choice")
    if isinstance(default, int) and not all(isinstance(end, int) for end in span.values()):
        raise TypeError(
            f"{what} must run between whole numbers, because the default is {default}; "
            f"got {span.low} to {span.high}"
        )
