"""Draws the benchmark's two pictures: pure functions from numbers to SVG."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import NamedTuple

from adversarial_svg import (
    FAINT,
    GRID,
    INK,
    RULE,
    SIZE,
    Axis,
    Box,
    area,
    circle,
    document,
    line,
    text,
    triangle,
    width_of,
)

COLOURS = {
    "this module": "#1f5fb4",
    "published": "#222222",
    "torchattacks": "#c75b12",
    "foolbox": "#2b8a3e",
    "adv-lib": "#8e44ad",
}
WIDTH, MARGIN = 860, 70
FIRST_BALL = math.log2(0.04)
ROW = 40
"""Height of a row of the picture of distances."""
FARTHEST = 1.3
"""Where the picture of costs ends; attacks beyond stand on its edge with their number."""


class Row(NamedTuple):
    """One attack in the picture of distances."""

    name: str
    kind: str
    """A key of ``COLOURS``."""
    distances: Sequence[float]
    """L2 of the samples for which the attack succeeded."""


class Point(NamedTuple):
    """One attack in the picture of costs."""

    name: str
    kind: str
    cost: float
    """Gradients a sample."""
    ratio: float
    """Median over samples of L2 / the published trajectory's L2."""
    complete: bool
    """Whether it succeeded for every sample."""


def distances_figure(
    panels: Mapping[str, Sequence[Row]], radii: Mapping[str, Sequence[float]]
) -> str:
    """How far the examples lie, a row an attack, over the radii ``0.04 · 2^k`` of the balls.

    ``radii`` holds, for each panel, the ball in which the published trajectory ended, by sample.
    """
    parts: list[str] = []
    top = 16.0
    for title, rows in panels.items():
        parts += _distances_panel(title, rows, radii[title], top)
        top += 120 + ROW * len(rows)
    name = "L2 distance of the adversarial examples, by attack"
    return document(parts, width=WIDTH, height=top - 10, title=name)


def _distances_panel(
    title: str, rows: Sequence[Row], radii: Sequence[float], top: float
) -> list[str]:
    logs = [[math.log2(d) for d in row.distances if d > 0] for row in rows]
    low = min(_quantile(some, 0.005) for some in logs) - 0.3
    high = max(_quantile(some, 0.995) for some in logs) + 0.3
    x = Axis(low, high, 190, WIDTH - MARGIN)
    bottom = top + 58 + ROW * len(rows)
    parts = [
        text(x.start, top + SIZE, title, bold=True),
        text(x.end + 8, top + 46, "median", fill=FAINT),
        text(x.start - 10, top + 46, "ball of the published loop", fill=FAINT, anchor="end"),
    ]
    levels = [FIRST_BALL + level for level in range(-6, 12)]
    for level in filter(x.holds, levels):
        at = x.place(level)
        parts.append(line((at, top + 34), (at, bottom), GRID if level < FIRST_BALL else RULE))
        parts.append(text(at, bottom + 16, f"{2**level:.3g}", fill=FAINT, anchor="middle"))
    for inner, level in pairwise(levels):
        share = sum(abs(math.log2(radius) - level) < 0.01 for radius in radii) / len(radii)
        left, right = x.place(inner), x.place(level)
        if share > 0 and right - left > 30:
            middle = (left + right) / 2
            parts.append(text(middle, top + 46, f"{share:.0%}", fill=FAINT, anchor="middle"))
    for number, (row, some) in enumerate(zip(rows, logs, strict=True)):
        parts += _ridge(row, some, x, top + 92 + ROW * number)
    words = "L2 distance from the clean image (log scale); lines: radii of the balls, 0.04 · 2ᵏ"
    parts.append(text((x.start + x.end) / 2, bottom + 34, words, anchor="middle"))
    return parts


def _ridge(row: Row, logs: Sequence[float], x: Axis, base: float) -> list[str]:
    """A smoothed histogram standing on its base line, with its median."""
    grid = [x.low + (x.high - x.low) * i / 200 for i in range(201)]
    width, height = 0.09, ROW - 8
    density = [sum(math.exp(-(((g - v) / width) ** 2) / 2) for v in logs) for g in grid]
    tallest = max(density)
    outline = [
        (x.place(g), base - height * d / tallest) for g, d in zip(grid, density, strict=True)
    ]
    colour, median = COLOURS[row.kind], statistics.median(row.distances)
    at = x.place(math.log2(median))
    return [
        area([(x.start, base), *outline, (x.end, base)], colour),
        line((at, base - height), (at, base), colour, 2),
        text(x.start - 10, base - 4, row.name, fill=colour, anchor="end"),
        text(x.end + 8, base - 4, f"{median:.4f}", fill=colour),
    ]


def cost_figure(panels: Mapping[str, Sequence[Point]]) -> str:
    """Gradients a sample against the median L2 ratio, every attack a labelled point."""
    parts: list[str] = []
    left = float(MARGIN)
    for kind, colour in {**COLOURS, "fails on some samples": INK}.items():
        parts.append(circle(left + 5, 20, colour, hollow=kind not in COLOURS))
        parts.append(text(left + 15, 24, kind))
        left += 40 + width_of(kind)
    top = 44.0
    for title, points in panels.items():
        parts += _cost_panel(title, points, top)
        top += 470
    name = "Gradients a sample against L2 distance, by attack"
    return document(parts, width=WIDTH, height=top - 6, title=name)


def _cost_panel(title: str, points: Sequence[Point], top: float) -> list[str]:
    costs = [math.log10(point.cost) for point in points]
    x = Axis(min(costs) - 0.12, max(costs) + 0.12, MARGIN, WIDTH - 24)
    lowest = min(0.86, min(point.ratio for point in points) - 0.03)
    y = Axis(lowest, FARTHEST, top + 404, top + 24)
    parts = [text(x.start, top + 10, title, bold=True)]
    for tick in (0.8, 0.9, 1.0, 1.1, 1.2, FARTHEST):
        if y.holds(tick):
            at = y.place(tick)
            parts.append(line((x.start, at), (x.end, at), RULE if tick == 1 else GRID))
            parts.append(text(x.start - 8, at + 4, f"{tick:.1f}", fill=FAINT, anchor="end"))
    for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        if x.holds(math.log10(tick)):
            at = x.place(math.log10(tick))
            parts.append(line((at, y.start), (at, y.end)))
            parts.append(text(at, y.start + 16, str(tick), fill=FAINT, anchor="middle"))
    across, down = (x.start + x.end) / 2, (y.start + y.end) / 2
    words = "gradients a sample (log scale)"
    parts.append(text(across, y.start + 36, words, anchor="middle"))
    words = "median L2 / L2 of the published loop"
    parts.append(text(24, down, words, anchor="middle", turned=True))
    spots = [(x.place(cost), y.place(p.ratio)) for cost, p in zip(costs, points, strict=True)]
    frame = Box(x.start, y.end - 12, x.end - x.start, y.start - y.end + 12)
    return parts + _labelled(points, spots, frame)


def _labelled(
    points: Sequence[Point], spots: Sequence[tuple[float, float]], frame: Box
) -> list[str]:
    """The markers and their names, which cover neither each other nor a marker."""
    taken = [Box(x - 6, y - 6, 12, 12) for x, y in spots]
    parts: list[str] = []
    placed = sorted(zip(points, spots, strict=True), key=lambda pair: (pair[0].kind, pair[1]))
    for point, (x, y) in sorted(placed, key=lambda pair: not pair[0].complete):
        colour, beyond = COLOURS[point.kind], point.ratio > FARTHEST
        parts.append((triangle if beyond else circle)(x, y, colour, hollow=not point.complete))
        twins = [
            other
            for other, spot in placed
            if _attack(other) == _attack(point) and _close(spot, (x, y))
        ]
        if point is not twins[0]:
            continue
        name = point.name
        if len(twins) > 1:
            name = f"{_attack(point)} ({', '.join(twin.kind for twin in twins)})"
        if beyond:
            name += f": {point.ratio:.2f}" if point.ratio < math.inf else ": fails on half"
        box = _free((x, y), width_of(name), taken, frame)
        taken.append(box)
        middle = box.x + box.width / 2
        if math.hypot(max(box.x - x, 0, x - box.x - box.width), box.y + 7 - y) > 22:
            edge = box.y + (box.height if box.y < y else 0)
            parts.insert(0, line((x, y), (middle, edge), RULE))
        parts.append(text(middle, box.y + 11, name, fill=colour, anchor="middle"))
    return parts


def _attack(point: Point) -> str:
    """The attack's name without its library's."""
    return point.name.removeprefix(f"{point.kind} ")


def _close(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two markers cover each other."""
    return math.dist(one, other) < 4


def _free(spot: tuple[float, float], width: float, taken: Sequence[Box], frame: Box) -> Box:
    """The nearest place for a label of this width that covers nothing and stays in the frame."""
    (x, y), height = spot, 14.0
    places = [Box(x + 9, y - 7, width, height), Box(x - 9 - width, y - 7, width, height)]
    for distance, angle in product((0, 20, 35, 55, 80, 110), range(-90, 270, 15)):
        turn = math.radians(angle)
        across = x + (distance + width / 3) * math.cos(turn)
        down = y + (distance + 16) * math.sin(turn)
        places.append(Box(across - width / 2, down - 7, width, height))
    fitting = (
        place
        for place in places
        if frame.holds(place) and not any(place.meets(other) for other in taken)
    )
    return next(fitting, places[0])


def _quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies, interpolated."""
    ranked = sorted(values)
    place = share * (len(ranked) - 1)
    low = int(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (place - low)
