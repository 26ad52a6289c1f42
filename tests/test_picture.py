"""The README's picture shows the rows of the digits page, in order and with their numbers."""

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

BOARDS = Path(__file__).parents[1] / "leaderboards"
PICTURE = (BOARDS / "gaps.svg").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"
RENEW = "draw it again with `tox -e front-page`"


def page_rows():
    """Label, mean gap, interval and ranks of each row of the page that has a gap."""
    page = (BOARDS / "digits-random10.md").read_text(encoding="utf-8").splitlines()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page if "|" in line]
    rows = []
    for rank, label, _, gap, interval, *_ in lines:
        if re.match(r"\d", rank) or label in ("original", "retrain"):
            ranks = re.search(r"\((\d+–\d+)\)", rank)
            low, high = map(float, interval.strip("[]").split(","))
            mean = float(gap.split(" ±")[0])
            rows.append((label.removesuffix(" †"), mean, low, high, ranks[1] if ranks else ""))
        if label == "accuracy.forget":
            break  # the page's second table
    return rows


def marks(kind):
    """Label → the SVG group of its mark of this kind."""
    found = {}
    for group in ElementTree.fromstring(PICTURE).iter(f"{SVG}g"):
        name = group.get("id", "")
        if name.startswith(f"{kind}-"):
            found[name.removeprefix(f"{kind}-")] = group
    return found


def test_the_picture_shows_the_rows_of_the_page_in_order_with_gaps_and_ranks():
    rows = page_rows()
    words = [text.text for text in ElementTree.fromstring(PICTURE).iter(f"{SVG}text")]

    shown = [word for word in words if word in {row[0] for row in rows}]

    assert shown == [row[0] for row in rows], RENEW
    assert len(rows) > 5
    for label, mean, _, _, ranks in rows:
        at = words.index(label)
        assert words[at + 1] == f"{mean:.2f}", RENEW
        assert not ranks or words[at + 2] == ranks, RENEW


def test_every_mark_and_interval_is_at_the_pages_value_on_a_logarithmic_axis():
    rows, points, intervals = page_rows(), marks("gap"), marks("interval")
    places = {label: float(group.find(f".//{SVG}use").get("x")) for label, group in points.items()}
    ends = {}
    for label, group in intervals.items():
        path = group.find(f".//{SVG}path").get("d")
        ends[label] = [float(x) for x in re.findall(r"[ML] ([\d.]+)", path)]
    first, last = rows[1], rows[-1]  # the rows nearest to retraining and farthest from it
    decade = (places[last[0]] - places[first[0]]) / math.log10(last[1] / first[1])

    def place(value):
        return places[first[0]] + decade * math.log10(value / first[1])

    for label, mean, low, high, _ in rows:
        assert places[label] == pytest.approx(place(mean), abs=1), RENEW
        assert ends[label] == pytest.approx([place(low), place(high)], abs=1), RENEW


def test_the_picture_is_small_and_has_real_text_and_no_date():
    assert len(PICTURE.encode()) < 60_000
    assert "<dc:date>" not in PICTURE
    assert ">noise floor<" in PICTURE
