"""Published numbers keep their printed digits, and a table that contradicts itself is refused."""

import dataclasses

import pytest
from printed import COLUMNS, published

from harness import Column, Paper, Printed


@pytest.mark.parametrize(
    ("given", "kept"), [("94.50", "94.50"), (94.5, "94.5"), (0, "0"), ("-1", "-1")]
)
def test_a_number_keeps_its_printed_digits(given, kept):
    number = Printed("M", "fa", given)

    assert number.mean == kept
    assert number.value == float(given)


@pytest.mark.parametrize("mean", ["", "n/a", "nan", "inf", "1_0", "٣", "1e999", None, True])
def test_a_mean_that_is_no_number_is_refused(mean):
    with pytest.raises((ValueError, TypeError), match="mean must be a finite number"):
        Printed("M", "fa", mean)


def test_a_table_names_its_methods_in_the_papers_order():
    assert published().rows == ("Scratch", "M", "Z")
    assert published().name == "p-1 T1: Pictures, net, a tenth at random"


TWICE = published().numbers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numbers": (*TWICE, TWICE[0])}, r"number \('Scratch', 'fa'\).* occurs 2 times"),
        ({"columns": (*COLUMNS, COLUMNS[0])}, "column 'fa' .*occurs 2 times"),
        ({"columns": COLUMNS[1:]}, "a number's metric names 'fa'; expected one of ra, "),
        ({"columns": (*COLUMNS, Column("x", "X", part_of="gab"))}, "part_of names 'gab'"),
        ({"methods": {"Q": ("m",)}}, "methods names 'Q'; expected one of Scratch, M, Z"),
        ({"scenarios": {"a b": ""}}, "scenario name 'a b'"),
        ({"scenarios": ["s"]}, "scenarios must be a mapping from text to text"),
        ({"methods": {"M": "m"}}, "methods must be a mapping from text to a tuple of our meth"),
        ({"numbers": ()}, "numbers must be a tuple of Printed, 1 or more"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        published(**changes)


def test_a_table_cannot_be_changed_from_outside():
    places = {"s": ""}
    table = published(scenarios=places)
    places["t"] = ""

    assert {**table.scenarios} == {"s": ""}
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.table = "T2"


def test_a_papers_year_is_a_year():
    with pytest.raises(ValueError, match="year must be a whole number of at least 1950"):
        Paper("p", "A Paper", year=26)
