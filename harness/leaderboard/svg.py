"""Elements of an SVG file, written the same on every machine. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

Point = tuple[float, float]


def number(value: float) -> str:
    """With two decimals, whatever the last bits of ``value``, which differ between machines."""
    return f"{round(value, 6) + 0.0:.2f}"


def printable(text: str, most: int = 10_000) -> str:
    """On one line, without characters that XML forbids, cut off after ``most`` characters."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def element(tag: str, *content: str, **attributes: str | float) -> str:
    """An element with markup inside; ``class_`` is the attribute ``class``, ``a_b`` is ``a-b``."""
    written = "".join(
        f" {name.rstrip('_').replace('_', '-')}={_value(value)}"
        for name, value in attributes.items()
    )
    inside = "".join(content)
    return f"<{tag}{written}>{inside}</{tag}>" if inside else f"<{tag}{written}/>"


def label(text: str, at: Point, **attributes: str | float) -> str:
    """One line of text whose baseline starts, or is centred, at a point."""
    return element("text", escape(text), x=at[0], y=at[1], **attributes)


def line(start: Point, end: Point, class_: str) -> str:
    """A straight line."""
    return element("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)


def rectangle(at: Point, size: Point, class_: str) -> str:
    """A rectangle, by its upper left corner."""
    return element("rect", x=at[0], y=at[1], width=size[0], height=size[1], class_=class_)


def path(points: Iterable[Point], class_: str, *, close: bool = False) -> str:
    """Straight lines from point to point, and back to the first to ``close`` it."""
    drawn = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return element("path", d=f"M{drawn}{'Z' * close}", class_=class_)


def _value(value: str | float) -> str:
    return quoteattr(value if isinstance(value, str) else number(value))
