"""The few shapes that the benchmark's pictures are made of, as SVG text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Literal, NamedTuple

INK, FAINT, GRID, RULE = "#222222", "#666666", "#dddddd", "#999999"
SIZE = 12
"""Font size in px."""


class Axis(NamedTuple):
    """Maps values from ``low`` to ``high`` on pixels from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """The pixel of a value; that of ``low`` or ``high`` for one beyond."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Whether the value lies on the axis."""
        return self.low <= value <= self.high


class Box(NamedTuple):
    """A rectangle that nothing else may cover."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: Box) -> bool:
        """Whether the two overlap."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )

    def holds(self, other: Box) -> bool:
        """Whether the other lies within."""
        return (
            self.x <= other.x
            and other.x + other.width <= self.x + self.width
            and self.y <= other.y
            and other.y + other.height <= self.y + self.height
        )


def width_of(words: str) -> float:
    """About how wide a text is."""
    return len(words) * SIZE * 0.58


def text(
    x: float,
    y: float,
    words: str,
    *,
    fill: str = INK,
    anchor: Literal["start", "middle", "end"] = "start",
    bold: bool = False,
    turned: bool = False,
) -> str:
    """Words on a base line at ``y``; ``turned`` reads upwards."""
    more = ' font-weight="bold"' if bold else ""
    more += f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}"{more}>'
        f"{escape(words)}</text>"
    )


def line(
    begin: tuple[float, float], end: tuple[float, float], colour: str = GRID, width: float = 1
) -> str:
    """A straight line."""
    (x1, y1), (x2, y2) = begin, end
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}" stroke-width="{width}"/>'
    )


def circle(x: float, y: float, colour: str, *, hollow: bool = False) -> str:
    """A marker."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {_paint(colour, hollow=hollow)}/>'


def triangle(x: float, y: float, colour: str, *, hollow: bool = False) -> str:
    """A marker that points upwards."""
    corners = ((x - 5, y + 5), (x + 5, y + 5), (x, y - 5))
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    return f'<polygon points="{points}" {_paint(colour, hollow=hollow)}/>'


def area(points: Sequence[tuple[float, float]], colour: str) -> str:
    """A tinted surface with its outline."""
    outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon points="{outline}" fill="{colour}" fill-opacity="0.3" stroke="{colour}"/>'


def document(parts: Sequence[str], *, width: float, height: float, title: str) -> str:
    """The whole picture, on white."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="{SIZE}">'
    )
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", ground, *parts, "</svg>\n"])


def _paint(colour: str, *, hollow: bool) -> str:
    return f'fill="{"white" if hollow else colour}" stroke="{colour}" stroke-width="2"'
