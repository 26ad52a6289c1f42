"""Elements of SVG are valid XML, whatever they contain, and the same on every machine."""

import math
from xml.etree import ElementTree

import pytest

from harness.leaderboard.svg import element, label, number, path, printable


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1.00"), (-0.0, "0.00"), (-1e-9, "0.00"), (0.125, "0.12"), (-3.456, "-3.46")],
)
def test_a_number_has_two_decimals(value, text):
    assert number(value) == text


def test_the_last_bit_of_a_number_changes_nothing_even_where_it_is_rounded():
    tie = 17.125

    assert {number(math.nextafter(tie, end)) for end in (0, 99)} == {number(tie)}


def test_text_of_any_kind_is_well_formed():
    text = 'a<b> & "c"\x00\n\t\ud800'

    read = ElementTree.fromstring(label(printable(text), (1, 2), class_='x"<'))

    assert read.text == 'a<b> & "c"? ?'
    assert read.attrib == {"x": "1.00", "y": "2.00", "class": 'x"<'}


def test_a_long_text_is_cut_off():
    assert printable("abcdef ghi", 8) == "abcdef…"
    assert printable("abcdefgh", 8) == "abcdefgh"


def test_names_of_attributes_are_those_of_svg():
    drawn = element("svg", "<g/>", aria_labelledby="t", class_="a", viewBox="0 0 1 1")

    assert drawn == '<svg aria-labelledby="t" class="a" viewBox="0 0 1 1"><g/></svg>'


def test_a_path_goes_from_point_to_point():
    assert path([(0, 1), (2, 3.456)], "c", close=True) == (
        '<path d="M0.00 1.00L2.00 3.46Z" class="c"/>'
    )
