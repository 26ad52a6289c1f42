"""What the words of a command mean."""

from dataclasses import dataclass, replace
from typing import Literal

import pytest

from harness import RandomFraction, Recipe, Scenario, UserError
from harness.plugins.catalog import load_catalog
from harness.runs.wanted import Wanted, configured, derived, wanted_methods, wanted_scenarios


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


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


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
def test_a_setting_is_converted_by_its_fields_type(field, text, value):
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
def test_a_setting_that_cannot_be_is_told_with_what_can(field, text, message):
    with pytest.raises(UserError) as error:
        configured("m", Config(), field, text)

    assert message in str(error.value)
    assert f"m.{field}" in str(error.value)


def test_a_setting_that_is_what_it_was_leaves_the_config_as_it_is():
    config = replace(Config(), lr=1)

    assert configured("m", config, "lr", "1.0") is config


def test_without_words_it_is_the_digits_and_every_installed_method(catalog):
    scenarios = wanted_scenarios(Wanted(), catalog)
    methods = wanted_methods(Wanted(), catalog)

    assert [s.name for s, _ in scenarios] == [*catalog.suites["digits"].scenarios]
    assert all(len(replicates) >= 8 for _, replicates in scenarios)
    assert [m.name for m in methods] == sorted(catalog.methods)


def test_seeds_count_from_the_first(catalog):
    ((_, replicates), *_) = wanted_scenarios(Wanted(seed=100, replicates=2), catalog)

    assert [(r.seed, r.forget_seed) for r in replicates] == [(100, 100), (101, 101)]


def test_another_backbone_or_data_set_derives_a_scenario_with_a_name_of_its_own():
    base = Scenario("s", "d", "b", Recipe(1, 0.1), RandomFraction(0.1))

    names = {
        derived(base).name,
        derived(base, backbone="b", dataset="d").name,
        derived(base, backbone="vit[img_size=32,patch_size=4]").name,
        derived(base, backbone="b2", dataset="folder:/tmp/x").name,
    }

    assert names == {"s", "s+vit-img_size-32-patch_size-4-63f0c6", "s+b2+folder-tmp-x-319b7d"}


def test_the_references_may_be_named_and_need_no_method(catalog):
    assert wanted_methods(Wanted(methods=("original", "retrain")), catalog) == []


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(methods=("finetun",)), "unknown method 'finetun'; did you mean 'finetune'"),
        (Wanted(suite="digit"), "unknown suite 'digit'; did you mean 'digits'"),
        (Wanted(scenarios=("digits-random",)), "did you mean 'digits-random10'"),
        (Wanted(scenarios=("a",), suite="b"), "exclude each other"),
        (Wanted(settings=("lr=1",)), "expected METHOD.FIELD=VALUE"),
        (Wanted(settings=("finetun.lr=1",)), "did you mean 'finetune'"),
        (Wanted(methods=("amun",), settings=("finetune.lr=1",)), "unknown method of this run"),
    ],
)
def test_a_word_that_names_nothing_is_told_with_the_nearest(catalog, wanted, message):
    def resolve():
        return wanted_scenarios(wanted, catalog), wanted_methods(wanted, catalog)

    with pytest.raises(UserError) as error:
        resolve()

    assert message in str(error.value)
