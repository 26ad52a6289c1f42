"""Which settings of a method's config have a part in a scenario; the others change nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from typing import Any

from harness.specs.scenario import Scenario

RETAIN, VALUES = "retain", "values"
"""The keys of a field's metadata that this file reads."""

WITH_RETAIN: Mapping[str, Any] = {RETAIN: (True,)}
"""Marks a setting that has a part only where a method sees retain data, as in
``lr: float = field(default=0.1, metadata=WITH_RETAIN)``."""

WITHOUT_RETAIN: Mapping[str, Any] = {RETAIN: (False,)}
"""Marks a setting that has a part only where no retain data is granted."""

ALWAYS: Mapping[str, Any] = {RETAIN: (True, False)}
"""Undoes either mark in a class that inherits it; a field that is only given another default keeps
its mark."""

NEVER: Mapping[str, Any] = {RETAIN: ()}
"""Marks an inherited setting that has no part in any scenario."""


def only_with(**values: Collection[Any]) -> Mapping[str, Any]:
    """Marks a setting that has a part only if the others that are named have one of these values.

    As in ``steps: int = field(default=50, metadata=only_with(attack=("pgd",)))``.
    """
    return {VALUES: values}


def idle(config: Any, scenario: Scenario, searched: Iterable[str] = ()) -> tuple[str, ...]:
    """The settings that have no part in the scenario, in alphabetical order.

    A setting that depends on another is kept if that one is ``searched``, since its value is then
    open.
    """
    if config is None:
        return ()
    granted = scenario.retain_access > 0
    free = {*searched}
    found = []
    for name, mark in _marks(type(config)).items():
        fits = all(
            other in free or getattr(config, other) in values
            for other, values in mark.get(VALUES, {}).items()
        )
        if granted not in mark.get(RETAIN, (True, False)) or not fits:
            found.append(name)
    return tuple(sorted(found))


def check_marks(what: str, config: Any) -> None:
    """Raises ValueError if a setting depends on one that the config lacks."""
    names = [each.name for each in fields(config)]
    for name, mark in _marks(type(config)).items():
        for other in mark.get(VALUES, {}):
            if other not in names:
                raise ValueError(
                    f"{what}: its config's {name} depends on {other!r}, which the config lacks; "
                    f"settings: {', '.join(names)}"
                )


def _marks(cls: type[Any]) -> dict[str, dict[str, Any]]:
    """Setting → its metadata, with what it inherits from fields of the same name."""
    marks: dict[str, dict[str, Any]] = {each.name: {} for each in fields(cls)}
    for base in reversed(cls.__mro__):
        for name, each in vars(base).get("__dataclass_fields__", {}).items():
            marks[name].update(each.metadata)
    return marks
