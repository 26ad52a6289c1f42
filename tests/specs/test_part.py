"""Settings without a part in a scenario: declared on the field, inherited, and undone."""

from dataclasses import dataclass, field, replace

import pytest

from harness import (
    ALWAYS,
    NEVER,
    WITH_RETAIN,
    WITHOUT_RETAIN,
    Choice,
    Method,
    RandomFraction,
    Recipe,
    Scenario,
    Span,
    only_with,
)
from harness.plugins.catalog import load_catalog
from harness.specs.part import idle

GRANTED = Scenario("s", "d", "b", Recipe(epochs=1, lr=0.1), RandomFraction(0.5))
BLIND = replace(GRANTED, retain_access=0)


@dataclass(frozen=True)
class Config:
    lr: float = field(default=0.1, metadata=WITH_RETAIN)
    lr_alone: float = field(default=0.2, metadata=WITHOUT_RETAIN)
    kind: str = "near"
    steps: int = field(default=5, metadata=only_with(kind=("far", "farther")))


@dataclass(frozen=True)
class Derived(Config):
    lr: float = 0.3
    lr_alone: float = field(default=0.2, metadata=NEVER)


@dataclass(frozen=True)
class Undone(Config):
    lr: float = field(default=0.3, metadata=ALWAYS)


def test_a_mark_says_where_a_setting_has_a_part():
    assert idle(Config(), GRANTED) == ("lr_alone", "steps")
    assert idle(Config(), BLIND) == ("lr", "steps")
    assert idle(Config(kind="farther"), GRANTED) == ("lr_alone",)


def test_another_default_keeps_the_mark_and_another_mark_replaces_it():
    assert idle(Derived(), BLIND) == ("lr", "lr_alone", "steps")
    assert idle(Undone(), BLIND) == ("steps",)


def test_a_search_space_lacks_what_has_no_part_unless_the_other_setting_is_searched_too():
    space = {"lr": Span(0.1, 1.0), "lr_alone": Span(0.1, 1.0), "steps": Span(1, 9)}
    method = Method("m", print, Config(), search=space)
    both = replace(method, search={**space, "kind": Choice(("near", "far"))})

    assert [*method.searched(GRANTED)] == ["lr"]
    assert [*both.searched(BLIND)] == ["lr_alone", "steps", "kind"]


def test_a_setting_that_depends_on_a_missing_one_is_an_error():
    @dataclass(frozen=True)
    class Wrong:
        lr: float = field(default=0.1, metadata=only_with(mode=("a",)))

    with pytest.raises(ValueError, match="config's lr depends on 'mode', which the config lacks"):
        Method("m", print, Wrong())


def test_the_shipped_methods_search_only_what_has_a_part():
    methods = load_catalog().methods

    assert [*methods["amun"].searched(GRANTED)] == ["epochs", "lr", "closest_steps"]
    assert {*methods["salun"].searched(BLIND)} == {
        "epochs_without_retain",
        "lr_without_retain",
        "ratio",
    }
    assert [*methods["amun-adversarial"].searched(BLIND)] == ["epochs", "lr"]
    assert {"eps_init", "steps", "mixture"} <= {*idle(methods["amun"].config, BLIND)}
    assert idle(methods["amun-pgd"].config, GRANTED) == (
        "closest_steps",
        "epochs_without_retain",
        "lr_without_retain",
        "mixture_without_retain",
    )
