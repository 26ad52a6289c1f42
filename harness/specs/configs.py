"""What a method's config and its search space may hold: numbers that a record can keep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any

from harness.specs.checks import number_of, shown
from harness.specs.search import Choice, Setting, Span


def require_no_negative(config: object) -> None:
    """Raises ValueError for a config with a number below 0 or nan; for ``__post_init__``."""
    for name, value in vars(config).items():
        if isinstance(value, int | float) and not value >= 0:
            raise ValueError(f"{name} must not be negative; got {value}")


def checked_config(what: str, config: Any) -> Any:
    """The config of a method, with Python's numbers in place of NumPy's and torch's.

    Raises TypeError for what is no frozen dataclass, for a setting that a record could not hold,
    and for one that is annotated as a number and is none.
    """
    if not is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"{what}: config must be an instance of a frozen dataclass; got {config!r}")
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
    whole, real = annotation in (int, "int"), annotation in (float, "float")
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
    """Raises ValueError or TypeError for a search space that does not fit the config."""
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
    """A span's values take the default's place."""
    if isinstance(default, bool | str):
        raise TypeError(f"{what} is a Span, but the setting is {shown(default)}; give a Choice")
    if isinstance(default, int) and not all(isinstance(end, int) for end in span.values()):
        raise TypeError(
            f"{what} must run from a whole number to another, as the setting is {default}; "
            f"got {span.low} to {span.high}"
        )
