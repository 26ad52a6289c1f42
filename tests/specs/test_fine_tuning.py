"""A method's own schedule, momentum, weight decay and Nesterov, and the recipe that they give."""

from dataclasses import dataclass, fields, replace

import pytest
import torch

from harness import FineTuning, Recipe, Training, UserError, fine_tune
from harness.records.lines import canonical, settings_of

PUBLISHED = {
    "schedule": "step",
    "step_size": 5,
    "step_gamma": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "nesterov": False,
}


@dataclass(frozen=True)
class Config(Training):
    epochs: int = 4
    lr: float = 0.05


@dataclass(frozen=True)
class BothConfig(FineTuning):
    epochs: int = 4
    lr: float = 0.05
    epochs_without_retain: int = 9
    lr_without_retain: float = 0.001


def under(task, **settings):
    recipe = replace(task.scenario.recipe, **settings)
    return replace(task, scenario=replace(task.scenario, recipe=recipe))


def test_without_settings_of_its_own_a_method_has_the_recipe_but_for_length_rate_and_schedule(task):
    task = under(task, schedule="step", step_size=40, gamma=0.5, nesterov=True, weight_decay=0.01)

    recipe = Config().recipe(task)

    assert recipe == Recipe(4, 0.05, batch=10, nesterov=True, weight_decay=0.01)


def test_settings_of_its_own_replace_the_recipes(task):
    task = under(task, optimizer="adamw", momentum=0.8, weight_decay=0.05)

    recipe = Config(**PUBLISHED, optimizer="sgd").recipe(task)

    assert recipe == Recipe(4, 0.05, batch=10, schedule="step", step_size=5, momentum=0.9)


def test_a_method_replaces_settings_of_the_recipe_that_the_scenario_hands_to_methods(task):
    methods = Recipe(99, 9.0, batch=20, weight_decay=1e-6)
    scenario = replace(task.scenario, fine_tuning=methods)

    recipe = Config(momentum=0.5).recipe(replace(task, scenario=scenario))

    assert recipe == Recipe(4, 0.05, batch=20, momentum=0.5, weight_decay=1e-6)


@pytest.mark.parametrize(("own", "factor"), [(None, 0.5), (0.2, 0.2)])
def test_the_factor_of_the_step_schedule_is_the_recipes_unless_the_method_has_one(
    task, own, factor
):
    task = under(task, schedule="step", step_size=40, gamma=0.5)

    recipe = Config(schedule="step", step_size=2, step_gamma=own).recipe(task)

    assert (recipe.step_size, recipe.gamma) == (2, factor)


def test_without_retain_data_the_recipe_has_the_epochs_and_the_rate_for_that(task):
    nothing = replace(task, retain=task.retain.select(torch.arange(0)))
    config = BothConfig(**PUBLISHED)

    found = [(recipe.epochs, recipe.lr) for recipe in map(config.recipe, (task, nothing))]

    assert found == [(4, 0.05), (9, 0.001)]


def test_a_method_that_leaves_them_alone_has_the_identity_and_the_record_of_before():
    assert canonical(BothConfig()) == (
        '{"epochs":4,"epochs_without_retain":9,"is":"BothConfig","lr":0.05,'
        '"lr_without_retain":0.001}'
    )
    assert settings_of(Config()) == {"epochs": 4, "lr": 0.05}


def test_what_a_method_sets_is_part_of_its_identity_and_of_its_record():
    found = settings_of(Config(**PUBLISHED))

    assert found == {"epochs": 4, "lr": 0.05, **PUBLISHED}
    assert '"nesterov":false' in canonical(Config(**PUBLISHED))


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ({"schedule": "linear"}, "Config: schedule must be one of 'one-cycle', 'cosine', 'step', "),
        ({"schedule": "step"}, "schedule 'step' needs a step_size, in epochs; got step_size None"),
        ({"step_size": 5}, "step_size belongs to schedule 'step'; got step_size 5 with schedule "),
        ({"step_gamma": 0.1}, "step_gamma belongs to schedule 'step'; got step_gamma 0.1 with "),
        ({"schedule": "step", "step_size": 0}, "step_size must be a whole number of at least 1"),
        ({"momentum": 1.0}, "momentum must be a number in"),
        ({"weight_decay": -1.0}, "weight_decay must be a finite number of at least 0 or None"),
        ({"optimizer": "adam"}, "optimizer must be one of 'sgd', 'adamw' or None; got 'adam'"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov needs a momentum above 0"),
        ({"nesterov": True, "optimizer": "adamw"}, "nesterov needs optimizer 'sgd'"),
    ],
)
def test_a_setting_out_of_range_or_without_its_partner_is_refused_in_one_line(odd, told):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as error:
        Config(**odd)

    assert told in str(error.value)


def test_settings_that_do_not_fit_the_scenarios_recipe_are_a_users_mistake(task):
    task = under(task, optimizer="adamw")

    with pytest.raises(UserError, match=r"scenario .s.: .* nesterov needs optimizer .sgd"):
        Config(nesterov=True).recipe(task)


def test_another_optimizer_than_the_recipes_comes_with_a_weight_decay_of_its_own(task):
    own = Config(optimizer="adamw", weight_decay=0.05).recipe(task)

    assert (own.optimizer, own.weight_decay) == ("adamw", 0.05)
    with pytest.raises(UserError, match=r"optimizer 'adamw' needs a weight_decay too; .* 'sgd'"):
        Config(optimizer="adamw").recipe(task)


def test_that_settings_fit_a_recipe_is_known_without_a_task(task):
    Config(nesterov=True).require_fit(task.scenario)
    scenario = under(task, optimizer="adamw").scenario

    with pytest.raises(UserError, match="nesterov needs optimizer 'sgd'"):
        Config(nesterov=True).require_fit(scenario)


def test_whole_numbers_become_those_that_the_identity_has():
    assert canonical(Config(weight_decay=0, momentum=0)) == canonical(
        Config(weight_decay=0.0, momentum=0.0)
    )


def test_a_config_may_add_settings_without_a_default():
    @dataclass(frozen=True)
    class Weighted(FineTuning):
        weight: float

    found = Weighted(1, 0.1, 2, 0.2, 0.3, schedule="constant")

    assert (found.lr_without_retain, found.weight, found.schedule) == (0.2, 0.3, "constant")
    assert {each.name for each in fields(Weighted) if each.kw_only} == {*PUBLISHED, "optimizer"}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"epochs": 1},
        {"recipe": Recipe(1, 0.1), "lr": 0.1},
        {"recipe": Recipe(1, 0.1), "schedule": "constant"},
    ],
)
def test_fine_tuning_takes_either_length_and_rate_or_a_recipe(task, given):
    with pytest.raises(TypeError, match="takes epochs and lr, or a recipe"):
        fine_tune(task, task.retain, **given)
