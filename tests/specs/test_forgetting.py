"""Forget rules: how they are described on pages and in errors."""

import pytest

from harness import (
    ClassFirst,
    ClassFraction,
    GivenRows,
    NumpyDraw,
    RandomFraction,
    Recipe,
    Scenario,
    WholeClass,
)
from harness.leaderboard.problem import task
from harness.specs.shares import percent


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.1, "10%"),
        (0.005, "0.5%"),
        (0.125, "12.5%"),
        (0.07, "7%"),
        (0.29, "29%"),
        (1 / 3, "33.3%"),
        (2 / 3, "66.7%"),
        (0.1234, "12.34%"),
        (0.12345, "12.3%"),
        (1e-7, "0.00001%"),
        (0.99999, "99.999%"),
        (0.9999999, "99.99999%"),
        (0, "0%"),
        (1, "100%"),
    ],
)
def test_a_share_is_never_rounded_to_nothing_or_all(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (RandomFraction(0.005), "a random 0.5%"),
        (ClassFraction(3, 0.125), "12.5% of class 3"),
        (WholeClass(3), "class 3"),
        (ClassFirst(25, 0.5), "the first 50% of class 25"),
        (GivenRows((1, 2)), "2 given images"),
        (NumpyDraw(0.1), "a random 10% (NumPy seeds 1, 10, 100)"),
    ],
)
def test_a_rule_describes_itself_briefly(rule, text):
    assert rule.describe() == text


def scenario(rule, access=1.0):
    return Scenario("s", "d", "b", Recipe(1, 0.1), rule, retain_access=access)


@pytest.mark.parametrize(
    ("problem", "class_name", "text"),
    [
        (scenario(RandomFraction(0.005)), "", "Forget a random 0.5%"),
        (
            scenario(RandomFraction(0.1), 0.125),
            "",
            "Forget a random 10%, with 12.5% of the retain set",
        ),
        (
            scenario(ClassFraction(3, 1 / 3), 0),
            "",
            "Forget 33.3% of class 3, without the retain set",
        ),
        (scenario(ClassFraction(3, 0.5)), "emu", "Forget 50% of class 3 (`emu`)"),
        (scenario(ClassFirst(3, 0.9)), "emu", "Forget the first 90% of class 3 (`emu`)"),
        (scenario(WholeClass(3)), "", "Forget class 3"),
        (scenario(WholeClass(3)), "3", "Forget class 3"),
        (scenario(WholeClass(3)), "11", "Forget class 3 (`11`)"),
        (scenario(WholeClass(2)), "emu", "Forget class 2 (`emu`)"),
        (scenario(WholeClass(2)), "a|b`c", r"Forget class 2 (``a\|b`c``)"),
        (scenario(GivenRows((5, 6))), "", "Forget 2 given images"),
    ],
)
def test_a_page_says_what_is_forgotten_and_names_the_class(problem, class_name, text):
    assert task(problem, class_name) == text
