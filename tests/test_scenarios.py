"""The published rows forget what their papers forget, and are trained by their recipes."""

import subprocess
import sys

import pytest
import torch

from harness import Augmentation, Recipe, Replicate
from harness.datasets.builtin import CIFAR100_20, from_torchvision
from harness.datasets.splits import split
from harness.scenarios import PUBLISHED_ROWS, RECIPES, ROWS_OF_20, SCENARIOS, SUITES

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
CIFAR100_LABELS = torch.arange(50000).flip(0) % 100
OF_20_LABELS = torch.arange(10000) % 20
SVHN_LABELS = torch.cat([torch.full((73257 - 4659,), 1), torch.full((4659,), 9)])
"""SVHN's train split has 4,659 images of digit 9."""

NAMES_OF_CIFAR100 = {
    25: "couch",
    68: "road",
    36: "hamster",
    0: "apple",
    52: "oak_tree",
    73: "shark",
}


def forgotten(name, labels, seed=0):
    return split(BY_NAME[name], Replicate(seed, seed), labels, labels).forget


@pytest.mark.parametrize("end", ["", "-fast"])
@pytest.mark.parametrize(
    ("row", "label", "size"),
    [
        ("cifar100-class25-half", 25, 250),
        ("cifar100-class25-90", 25, 450),
        ("cifar100-class68-half", 68, 250),
        ("cifar100-class36-half", 36, 250),
        ("cifar100-class0-half", 0, 250),
        ("cifar100-class52-half", 52, 250),
        ("cifar100-class73-half", 73, 250),
        ("svhn-class9-half", 9, 2329),
        ("svhn-class9-90", 9, 4193),
    ],
)
def test_a_published_row_forgets_the_first_images_of_its_class_in_every_replicate(
    row, label, size, end
):
    labels = SVHN_LABELS if row.startswith("svhn") else CIFAR100_LABELS

    rows = forgotten(row + end, labels)

    first = (labels == label).nonzero()[:size, 0]
    assert torch.equal(rows, first)
    assert torch.equal(forgotten(row + end, labels, seed=3), first)


@pytest.mark.parametrize("name", ["couch", "apple", "hamster", "oak_tree", "road", "shark"])
def test_a_reduced_row_forgets_the_first_half_of_the_class_in_its_name(name):
    rows = forgotten(f"cifar100-20-{name.replace('_', '-')}-half", OF_20_LABELS)

    assert torch.equal(rows, (CIFAR100_20.index(name) == OF_20_LABELS).nonzero()[:250, 0])


def test_the_reduced_rows_share_their_original_models_and_are_tuned_on_no_reported_class():
    first, *others = ROWS_OF_20
    substitute = first.forget.substitute(OF_20_LABELS)

    assert {(row.dataset, row.backbone, row.recipe, row.held_out) for row in ROWS_OF_20} == {
        (first.dataset, first.backbone, first.recipe, 0.0)
    }
    assert CIFAR100_20[substitute.label] == "flatfish"
    assert substitute.label not in {row.forget.label for row in ROWS_OF_20}
    assert {row.tuned_as for row in others} == {first.name}


def test_tuning_the_full_rows_touches_no_reported_class_either():
    (couch,) = (row for row in PUBLISHED_ROWS if row.name == "cifar100-class25-half")

    assert couch.forget.substitute(CIFAR100_LABELS).label not in NAMES_OF_CIFAR100


@pytest.mark.parametrize("row", [*PUBLISHED_ROWS, *ROWS_OF_20], ids=lambda row: row.name)
def test_the_attack_in_the_gap_of_a_class_row_is_the_papers(row):
    assert row.mia == "confidence-mia.svc"


def test_the_published_recipes_are_those_of_the_paper():
    cifar, svhn = BY_NAME["cifar100-class25-half"].recipe, BY_NAME["svhn-class9-90"].recipe

    assert (cifar.optimizer, cifar.lr, cifar.momentum, cifar.nesterov) == ("sgd", 0.1, 0.9, True)
    assert (cifar.batch, cifar.epochs, cifar.schedule) == (256, 200, "cosine")
    assert (cifar.weight_decay, cifar.augmentation) == (5e-4, Augmentation(crop=True, flip=True))
    assert svhn == Recipe(
        epochs=100,
        lr=1e-3,
        batch=256,
        weight_decay=0.05,
        schedule="cosine",
        optimizer="adamw",
    )


@pytest.mark.parametrize("row", PUBLISHED_ROWS, ids=lambda row: row.name)
def test_methods_unlearn_the_published_rows_by_sgd_as_in_the_paper(row):
    own = row.fine_tuning

    assert (own.optimizer, own.momentum, own.nesterov) == ("sgd", 0.9, False)
    assert (own.weight_decay, own.batch) == (1e-6, 256)
    assert own.augmentation == row.recipe.augmentation


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_by_name_is_that_of_the_rows(recipe):
    end = "-fast" if recipe.name.endswith("-fast") else ""
    dataset = recipe.name.partition("-")[0].upper()
    rows = [BY_NAME[f"{row.name}{end}"] for row in PUBLISHED_ROWS if row.dataset == dataset]

    assert {row.recipe for row in rows} == {recipe.recipe}


@pytest.mark.parametrize("row", PUBLISHED_ROWS, ids=lambda row: row.name)
def test_a_fast_row_differs_from_the_published_one_in_its_recipe_alone(row):
    fast = BY_NAME[f"{row.name}-fast"]

    assert fast.recipe.epochs <= 30
    assert (fast.dataset, fast.backbone, fast.forget) == (row.dataset, row.backbone, row.forget)


def test_every_suite_names_scenarios_that_exist():
    for suite in SUITES:
        assert {*suite.scenarios} <= {*BY_NAME}


def test_the_classes_of_the_published_rows_have_the_names_of_the_paper(shared_data, tmp_path):
    pack = shared_data / "cifar100.webp.npz"
    command = [sys.executable, shared_data / "unpack.py", pack, tmp_path]
    subprocess.run(command, check=True, capture_output=True)

    train, _ = from_torchvision(tmp_path, name="CIFAR100")

    assert {label: train.classes[label] for label in NAMES_OF_CIFAR100} == NAMES_OF_CIFAR100
    for row in PUBLISHED_ROWS:
        if row.dataset == "CIFAR100":
            rows = forgotten(row.name, train.labels)
            assert train.labels[rows].unique().tolist() == [row.forget.label]
            assert len(rows) == int(500 * row.forget.fraction)
