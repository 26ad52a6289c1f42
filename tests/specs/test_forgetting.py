"""Forget rules: how a page and an error tell them, and what no rule can be made of."""

import pytest

from harness import ClassFraction, GivenRows, RandomFraction, WholeClass
from harness.leaderboard.pages import task
from harness.specs.forgetting import percent


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
def test_a_share_is_told_as_it_is_and_never_as_nothing_or_all(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (RandomFraction(0.005), "random 0.5%"),
        (ClassFraction(3, 0.125), "12.5% of class 3"),
        (WholeClass(3), "class 3"),
        (GivenRows((1, 2)), "2 given rows"),
    ],
)
def test_a_rule_is_told_in_few_words(rule, text):
    assert str(rule) == text


def scenario(access=1.0, class_name=None, **rule):
    named = {} if class_name is None else {"class_name": class_name}
    return {"forget": rule, "retain_access": access, **named}


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (scenario(**{"is": "RandomFraction", "fraction": 0.005}), "Forget a random 0.5%"),
        (
            scenario(0.125, **{"is": "RandomFraction", "fraction": 0.1}),
            "Forget a random 10%, with 12.5% of the retain set",
        ),
        (
            scenario(0, **{"is": "ClassFraction", "label": 3, "fraction": 1 / 3}),
            "Forget 33.3% of class 3, without the retain set",
        ),
        (scenario(**{"is": "WholeClass", "label": 3}), "Forget class 3"),
        (scenario(class_name="3", **{"is": "WholeClass", "label": 3}), "Forget class 3"),
        (scenario(class_name="11", **{"is": "WholeClass", "label": 3}), "Forget class 3 (`11`)"),
        (scenario(class_name="emu", **{"is": "WholeClass", "label": 2}), "Forget class 2 (`emu`)"),
        (
            scenario(class_name="a|b`c", **{"is": "WholeClass", "label": 2}),
            r"Forget class 2 (``a\|b`c``)",
        ),
        (scenario(**{"is": "GivenRows", "rows": [5, 5, 6]}), "Forget 2 given images"),
    ],
)
def test_a_page_tells_what_is_forgotten_and_the_name_of_its_class(problem, text):
    assert task(problem) == text
