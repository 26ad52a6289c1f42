"""The arguments of a command select scenarios, replicates and methods."""

import itertools

import pytest

from harness import NamedRecipe, RandomFraction, Recipe, Scenario, UserError
from harness.errors import unknown
from harness.plugins.catalog import load_catalog
from harness.runs.wanted import Wanted, derived, wanted_methods, wanted_scenarios
from harness.specs.catalog import Catalog


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


def test_the_default_is_the_digits_suite_with_every_installed_method(catalog):
    scenarios = wanted_scenarios(Wanted(), catalog)
    methods = wanted_methods(Wanted(), catalog)

    assert [s.name for s, _ in scenarios] == [*catalog.suites["digits"].scenarios]
    assert all(len(replicates) >= 8 for _, replicates in scenarios)
    assert [m.name for m in methods] == sorted(catalog.methods)


def test_replicates_have_consecutive_seeds_from_the_first(catalog):
    ((_, replicates), *_) = wanted_scenarios(Wanted(seed=100, replicates=2), catalog)

    assert [(r.seed, r.forget_seed) for r in replicates] == [(100, 100), (101, 101)]


CROSSED = Scenario(
    "x", "d", "b", Recipe(1, 0.1), RandomFraction(0.1), replicates=9, crossed=(1, 10, 100)
)


def crossed_replicates(**wanted):
    catalog = Catalog(scenarios={"x": CROSSED})
    ((_, replicates),) = wanted_scenarios(Wanted(scenarios=("x",), **wanted), catalog)
    return [(r.seed, r.forget_seed) for r in replicates]


def test_a_crossed_scenario_has_every_pair_of_its_seeds():
    found = crossed_replicates()

    assert sorted(found) == [*itertools.product((1, 10, 100), repeat=2)]


def test_the_first_pairs_of_crossed_seeds_share_none():
    assert crossed_replicates(replicates=3) == [(1, 1), (10, 10), (100, 100)]
    six = crossed_replicates(replicates=6)
    assert {seed for seed, _ in six[3:]} == {seed for _, seed in six[3:]} == {1, 10, 100}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"seed": 0}, "--seed 0: scenario 'x' crosses the seeds 1, 10, 100; leave --seed out"),
        (
            {"replicates": 10},
            "--replicates 10: scenario 'x' crosses .* gives 9 replicates; expected at most 9",
        ),
    ],
)
def test_crossed_seeds_are_neither_counted_up_nor_exceeded(wanted, message):
    with pytest.raises(UserError, match=message):
        crossed_replicates(**wanted)


def test_a_scenario_with_another_backbone_data_set_or_recipe_gets_a_name_of_its_own():
    base = Scenario("s", "d", "b", Recipe(1, 0.1), RandomFraction(0.1))

    names = {
        derived(base).name,
        derived(base, backbone="b", dataset="d").name,
        derived(base, backbone="vit[img_size=32,patch_size=4]").name,
        derived(base, backbone="b2", dataset="folder:/tmp/x").name,
        derived(base, recipe=NamedRecipe("same", Recipe(1, 0.1))).name,
        derived(base, dataset="d2", recipe=NamedRecipe("long-r", Recipe(9, 0.1))).name,
    }

    assert names == {
        "s",
        "s+d2+long-r",
        "s+vit-img_size-32-patch_size-4-63f0c6",
        "s+b2+folder-tmp-x-319b7d",
    }


def test_the_references_may_be_named_although_they_are_no_methods(catalog):
    assert wanted_methods(Wanted(methods=("original", "retrain")), catalog) == []


def test_a_derived_scenario_has_tuned_settings_of_its_own():
    base = Scenario("s", "d", "b", Recipe(1, 0.1), RandomFraction(0.1), tuned_as="t")

    assert derived(base).tuned_as == "t"
    assert derived(base, backbone="b2").tuned_as == ""


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(methods=("finetun",)), "unknown method 'finetun'; did you mean 'finetune'"),
        (Wanted(suite="digit"), "unknown suite 'digit'; did you mean 'digits'"),
        (Wanted(scenarios=("digits-random",)), "did you mean 'digits-random10'"),
        (Wanted(recipe="brief"), "unknown recipe 'brief'"),
        (Wanted(scenarios=("a",), suite="b"), "exclude each other"),
        (Wanted(settings=("lr=1",)), "expected METHOD.FIELD=VALUE"),
        (Wanted(settings=("finetun.lr=1",)), "did you mean 'finetune'"),
        (Wanted(methods=("amun",), settings=("finetune.lr=1",)), "unknown method of this run"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_closest_match(catalog, wanted, message):
    def resolve():
        return wanted_scenarios(wanted, catalog), wanted_methods(wanted, catalog)

    with pytest.raises(UserError) as error:
        resolve()

    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("froget", "did you mean 'forget'?"),
        ("for", "did you mean 'format' or 'forget'?"),
        ("zzz", "known: forget, format, target"),
    ],
)
def test_a_near_miss_is_corrected_to_one_name_and_a_guess_to_several(name, hint):
    assert str(unknown("metric", name, ["forget", "format", "target"])) == (
        f"unknown metric {name!r}; {hint}"
    )


RECIPES = """
from harness import NamedRecipe, Recipe, hookimpl

@hookimpl
def unlearning_scenarios():
    return [NamedRecipe("tiny-brief", Recipe(1, 0.05, batch=16), "https://example.org")]
"""


def test_a_recipe_is_listed_and_gives_a_scenario_of_its_own(unlearn, work):
    (work / "recipes.py").write_text(RECIPES)
    brief = ("--recipe", "tiny-brief", "-p", "recipes.py")

    _, listed, _ = unlearn("list", "recipes", "-p", "recipes.py")
    status, _, err = unlearn("run", "finetune", "--scenario", "tiny", "--defaults", *brief)
    unlearn("leaderboard")

    page = (work / "leaderboards" / "tiny+tiny-brief.md").read_text()
    words = "1 epoch, SGD, lr 0.05 (one-cycle), batch 16, momentum 0.9, weight decay 0.0005"
    assert (status, err) == (0, "")
    assert words in listed
    assert "trained for 1 epochs (one-cycle, lr 0.05, batch 16)" in page


def test_settings_are_tuned_for_the_scenario_with_the_recipe(unlearn, work):
    long = RECIPES.replace("Recipe(1,", "Recipe(60,")  # else no trial is within the budget
    (work / "recipes.py").write_text(long)
    words = ("tune", "finetune", "--trials", "1", "--workers", "1", "--scenario", "tiny")

    status, _, _ = unlearn(*words, "--recipe", "tiny-brief", "-p", "recipes.py")

    assert status == 0
    assert (work / "leaderboards" / "tuned" / "tiny+tiny-brief.json").exists()


def test_an_unknown_recipe_is_one_line_with_the_nearest(unlearn, work):
    (work / "recipes.py").write_text(RECIPES)

    status, _, err = unlearn("run", "--recipe", "tiny-breif", "-p", "recipes.py")

    assert status == 2
    assert err.strip().endswith("unknown recipe 'tiny-breif'; did you mean 'tiny-brief'?")


@pytest.mark.parametrize("arguments", [(), ("--recipe", "svhn-vit-tiny")])
def test_settings_by_hand_that_do_not_fit_the_recipe_are_refused_before_any_training(
    unlearn, work, arguments
):
    setting = "nesterov=True" if arguments else "optimizer=adamw"
    command = ("run", "finetune", "--scenario", "digits-random10", "--dry-run", *arguments)

    status, out, err = unlearn(*command, "--set", f"finetune.{setting}")

    assert status == 2
    assert "would do" not in out
    assert "--set of 'finetune': scenario 'digits-random10" in err
    assert ("nesterov needs" if arguments else "needs a weight_decay too") in err


STRIPES = """
from harness import RandomFraction, Recipe, Scenario, hookimpl

@hookimpl
def unlearning_scenarios():
    recipe = Recipe(1, 0.1)
    return [Scenario("stripes", "{dataset}", "{backbone}", recipe, RandomFraction(0.1))]
"""


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ({"dataset": "stripes-set", "backbone": "tiny-net"}, "dataset 'stripes-set'"),
        ({"dataset": "tiny-set", "backbone": "tiny-ned"}, "backbone 'tiny-ned'"),
    ],
)
def test_a_scenario_that_names_what_no_plugin_provides_is_named(unlearn, work, names, missing):
    (work / "stripes.py").write_text(STRIPES.format(**names))

    status, _, err = unlearn("run", "finetune", "--scenario", "stripes", "-p", "stripes.py")

    expected = f"scenario 'stripes' names {missing}, which no plugin provides; add its file with -p"
    assert status == 2
    assert expected in err
