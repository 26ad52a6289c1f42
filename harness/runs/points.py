"""The first trials of a tuning: the method's defaults, and a few points around them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.records.tuned import OVER, Trial
from harness.specs.search import Choice, Setting, Span

MOST = 5
"""The number of first trials, at most."""

FACTOR = 3
"""How far a point around the defaults is from them, on a logarithmic scale."""

CHEAPER = 2
"""How often the defaults are made cheaper, at most, if they exceed the budget."""


def next_point(
    space: Mapping[str, Setting], config: Any, trials: Sequence[Trial]
) -> dict[str, Any] | None:
    """The settings of the next trial, or None if the sampler is to draw them.

    First come the defaults. While they exceed the budget, each whole-number setting, such as a
    number of epochs, moves halfway to the low end of its span. Then come the points that differ
    from them in one setting that is searched on a logarithmic scale: a third of it, and three
    times.
    """
    start = defaults(space, config)
    points = [start]
    for trial in trials[:CHEAPER]:
        if trial.note != OVER:
            break
        start = _cheaper(space, start)
        points.append(start)
    points += _around(space, start)
    distinct = [point for place, point in enumerate(points) if point not in points[:place]]
    wanted = distinct[:MOST]
    return wanted[len(trials)] if len(trials) < len(wanted) else None


def defaults(space: Mapping[str, Setting], config: Any) -> dict[str, Any]:
    """The config's own values, or the nearest that the search space contains."""
    return {name: _inside(setting, getattr(config, name)) for name, setting in space.items()}


def outside(space: Mapping[str, Setting], config: Any) -> Iterator[str]:
    """One line for each default that the search space does not contain."""
    for name, nearest in defaults(space, config).items():
        own = getattr(config, name)
        if own != nearest:
            yield (
                f"the default {name}={own} lies outside its search space; {nearest} takes its place"
            )


def _inside(setting: Setting, value: Any) -> Any:
    if isinstance(setting, Choice):
        return value if value in setting.options else setting.options[0]
    if not isinstance(value, int | float):  # such as None, for a value that is derived
        return setting.low
    return min(max(value, setting.low), setting.high)


def _cheaper(space: Mapping[str, Setting], point: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: (int(setting.low) + point[name]) // 2
        if isinstance(setting, Span) and isinstance(point[name], int)
        else point[name]
        for name, setting in space.items()
    }


def _around(space: Mapping[str, Setting], point: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, setting in space.items():
        if isinstance(setting, Span) and setting.log:
            value = point[name]
            for moved in (value / FACTOR, value * FACTOR):
                short = round(moved) if isinstance(value, int) else float(f"{moved:.4g}")
                yield {**point, name: _inside(setting, short)}
