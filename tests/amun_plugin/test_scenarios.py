"""AMUN's own protocol: its forget sets, its recipe, and its nine pairs of model and forget set."""

import numpy as np
import pytest
import torch

from amun_plugin.scenarios import FAST, FULL, SUITES
from harness import Recipe
from harness.backbones.build import designs
from harness.backbones.cifar_resnet18 import Block, unlearning_backbones
from harness.plugins.catalog import load_catalog
from harness.scenarios import PUBLISHED_ROWS, ROWS_OF_20
from harness.seeds import derive
from harness.specs.forgetting import FORGET_STREAM


def rates(recipe):
    """The rate of each epoch, as torch's own StepLR gives it."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], recipe.lr)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, recipe.step_size, recipe.gamma)
    found = []
    for _ in range(recipe.epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_the_recipe_is_the_papers():
    recipe = FULL.recipe

    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay) == ("sgd", 0.9, 5e-4)
    assert (recipe.nesterov, recipe.batch) == (False, 128)
    assert recipe.augmentation.crop
    assert recipe.augmentation.flip
    assert rates(recipe) == pytest.approx(
        [0.1] * 40 + [0.01] * 40 + [1e-3] * 40 + [1e-4] * 40 + [1e-5] * 40 + [1e-6]
    )


@pytest.mark.parametrize("seed", [1, 10, 100])
def test_a_forget_set_is_what_the_authors_script_draws(seed):
    labels = torch.arange(50_000) % 10
    np.random.seed(seed)  # noqa: NPY002 - as in their script
    expected = np.random.choice(50_000, size=5_000, replace=False)  # noqa: NPY002
    stream = torch.Generator().manual_seed(derive(seed, FORGET_STREAM))

    rows = FULL.forget.select(labels, torch.arange(50_000), stream)

    assert sorted(rows.tolist()) == sorted(expected.tolist())


def test_three_models_are_crossed_with_three_forget_sets():
    assert FULL.crossed == FULL.forget.seeds == (1, 10, 100)
    assert FULL.replicates == 9


def test_the_fast_one_differs_in_its_training_alone():
    assert FAST.recipe.epochs <= 30
    assert FAST.recipe == Recipe(30, 0.1, 128, augmentation=FULL.recipe.augmentation)
    for name in ("dataset", "backbone", "forget", "crossed", "replicates", "mia", "tuning"):
        assert getattr(FAST, name) == getattr(FULL, name)


@pytest.mark.parametrize("scenario", [FULL, FAST], ids=lambda each: each.name)
def test_the_network_is_the_papers_with_its_halved_sums(scenario):
    backbones = {backbone.name: backbone for backbone in unlearning_backbones()}

    (design,) = designs(scenario.backbone, backbones, shape=(3, 32, 32), classes=10, stem="small")

    blocks = [part for part in design.net().modules() if isinstance(part, Block)]
    assert [block.halved for block in blocks] == [True] * 8


@pytest.mark.parametrize(
    ("suite", "rows"),
    [
        ("published-rows", [row.name for row in PUBLISHED_ROWS]),
        ("published-rows-fast", [f"{row.name}-fast" for row in PUBLISHED_ROWS]),
        ("cifar100-20", [row.name for row in ROWS_OF_20]),
    ],
)
def test_a_suite_of_class_rows_names_them_all_and_methods_that_exist(suite, rows):
    catalog = load_catalog()
    (found,) = (each for each in SUITES if each.name == suite)

    assert {*found.scenarios} == {*rows}
    assert {*found.methods} <= {*catalog.methods}
