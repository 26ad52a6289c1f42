"""``--set`` converts text to a field's type, and says what it expected if it cannot."""

from dataclasses import dataclass, replace
from typing import Literal

import pytest

from harness import UserError
from harness.runs.settings import Assignment, all_configured, configured


@dataclass(frozen=True)
class Config:
    lr: float = 0.1
    epochs: int = 4
    on: bool = False
    name: str = "x"
    kind: Literal["a", "b"] = "a"
    limit: int | None = 3
    share: float = 0.5

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be in (0, 1]; got {self.share}")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("lr", "1e-3", 0.001),
        ("epochs", "7", 7),
        ("on", "true", True),
        ("on", "False", False),
        ("name", "a=b", "a=b"),
        ("kind", "b", "b"),
        ("limit", "none", None),
        ("limit", "5", 5),
    ],
)
def test_a_setting_is_converted_to_the_type_of_its_field(field, text, value):
    found = getattr(configured("m", Config(), field, text), field)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("lr", "fast", "expected a number; got 'fast'"),
        ("lr", "nan", "expected a finite number"),
        ("lr", "inf", "expected a finite number"),
        ("epochs", "1.5", "expected a whole number; got '1.5'"),
        ("on", "yes", "expected one of true, false"),
        ("kind", "c", "expected one of a, b"),
        ("epoch", "1", "did you mean 'epochs'"),
        ("share", "2", "share must be in"),
    ],
)
def test_an_invalid_setting_is_an_error_that_says_what_is_valid(field, text, message):
    with pytest.raises(UserError) as error:
        configured("m", Config(), field, text)

    assert message in str(error.value)
    assert f"m.{field}" in str(error.value)


def test_setting_an_equal_value_returns_the_same_config():
    config = replace(Config(), lr=1)

    assert configured("m", config, "lr", "1.0") is config


@dataclass(frozen=True)
class Pair(Config):
    size: int | None = None

    def __post_init__(self):
        if (self.kind == "b") != (self.size is not None):
            raise ValueError(f"kind b and a size belong together; got {self.kind} and {self.size}")


@pytest.mark.parametrize("words", [("m.kind=b", "m.size=5"), ("m.size=5", "m.kind=b")])
def test_settings_that_need_each_other_may_come_in_any_order(words):
    found = all_configured(Pair(), [Assignment.parse(each) for each in words])

    assert found == Pair(kind="b", size=5)


def test_the_last_of_two_values_for_a_setting_counts():
    asked = [Assignment("m", "lr", "1"), Assignment("m", "lr", "2")]

    assert all_configured(Config(), asked) == Config(lr=2)


def test_settings_that_are_rejected_together_are_named_together():
    with pytest.raises(UserError) as error:
        all_configured(Pair(), [Assignment("m", "kind", "b"), Assignment("m", "lr", "1")])

    assert str(error.value) == (
        "--set m.kind=b --set m.lr=1: kind b and a size belong together; got b and None"
    )
