"""Sizes of pools: three names, or an even number of at least 4."""

import pytest

from harness import RandomFraction, Recipe, Scenario, UserError
from harness.records.lines import identity
from harness.runs.keys import problem_fields
from harness.specs.pool_size import SIZES, ensemble_size, pool_size


@pytest.mark.parametrize(
    ("text", "size"), [("smoke", 4), ("standard", 16), ("full", 64), ("4", 4), ("10", 10)]
)
def test_a_size_is_a_name_or_an_even_number(text, size):
    assert pool_size(text) == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "got 0; the nearest is 4"),
        ("3", "got 3; the nearest is 4"),
        ("7", "got 7; the nearest is 8"),
        ("standart", "did you mean 'standard'"),
        ("-4", "known: an even number from 4, full, smoke, standard"),
        ("²", "'²'"),
    ],
)
def test_another_size_is_an_error_of_one_line_with_the_nearest_right_one(text, message):
    with pytest.raises(UserError) as error:
        pool_size(text)

    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_ensemble_has_half_as_many_models():
    assert [ensemble_size(size) for size in SIZES.values()] == [2, 8, 32]


def scenario(**changes):
    return Scenario("s", "d", "b", Recipe(1, 0.1), RandomFraction(0.1), **changes)


@pytest.mark.parametrize("pool", [2, 3, 17, -4, 4.5, "standard"])
def test_a_scenario_refuses_a_pool_of_another_size(pool):
    with pytest.raises((ValueError, TypeError), match="0, or an even number of at least 4"):
        scenario(pool=pool)


def test_the_size_of_its_pool_changes_no_identity_of_a_scenario():
    small, large = scenario(), scenario(pool=64)

    assert identity(problem_fields(large)) == identity(problem_fields(small))
    assert identity(small) == identity(scenario(pool=0))
