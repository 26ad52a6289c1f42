"""AMUN's own protocol, CIFAR-10 with three models crossed with three forget sets; and suites.

Ebrahimpour-Boroojeny, Sundaram, Chandrasekaran, ICML 2025, https://arxiv.org/abs/2503.00917, and
the code at https://github.com/Ali-E/AMUN: its network, recipe, forget sets (NumPy's seeds 1, 10 and
100) and nine pairs of a model and a forget set. As there the model of the last epoch counts, and
none is selected by the test set. What differs:

- Images are normalised inside the model, where the paper's runs have none of it; attacks and
  augmentation see images in [0, 1] here too.
- The average gap takes the paper's second attack, the SVC of its tables 10 and 11. Its first, RMIA
  with 128 reference models, is not part of this benchmark.
- Half of the test set is kept for tuning, and pages report on the other half. The paper says that
  it tunes on a forget set of its own; its code tunes on one of the three that it reports.
- Each pair has retrained models of its own, and more than one.
- On a GPU training computes in bfloat16, where the paper has float32. Batches differ by one image
  at most, where the paper's last one is smaller.
- The authors wrap each BatchNorm in a spectral norm that clips nothing in these experiments; it is
  left out.
- The seeds 1, 10 and 100 of the models do not give the authors' weights.
"""

from __future__ import annotations

from dataclasses import replace

from harness import Augmentation, NamedRecipe, NumpyDraw, Recipe, Scenario, Suite, hookimpl

PAPER = "https://arxiv.org/abs/2503.00917"

CROP_AND_FLIP = Augmentation(crop=True, flip=True)

SEEDS = (1, 10, 100)
"""Of the models, and of the forget sets."""

RECIPE = Recipe(
    epochs=201,
    lr=0.1,
    batch=128,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="step",
    step_size=40,
    gamma=0.1,
    augmentation=CROP_AND_FLIP,
)

FAST_RECIPE = Recipe(epochs=30, lr=0.1, batch=128, augmentation=CROP_AND_FLIP)
"""The same by a one-cycle schedule, in a seventh of the epochs."""

FULL = Scenario(
    name="cifar10-amun",
    dataset="CIFAR10",
    backbone="cifar_resnet18[halved=True]",
    recipe=RECIPE,
    forget=NumpyDraw(0.1, seeds=SEEDS),
    mia="confidence-mia.svc",
    crossed=SEEDS,
    replicates=len(SEEDS) ** 2,
    tuning=0.5,
    pool=16,
)

FAST = replace(FULL, name="cifar10-amun-fast", recipe=FAST_RECIPE)


CLASSES = ("25-half", "25-90", "68-half", "36-half", "0-half", "52-half", "73-half")
ROWS = (*(f"cifar100-class{each}" for each in CLASSES), "svhn-class9-half", "svhn-class9-90")
REDUCED = ("couch", "apple", "hamster", "oak-tree", "road", "shark")

METHODS = (
    "amun",
    "amun-paper",
    "amun-adversarial",
    "amun-salun",
    "amun-l1",
    "amun-transferred",
    "amun-adaptive",
    "salun",
    "random-labels",
    "finetune",
    "gradient-ascent",
    "influence",
    "local-teacher",
    "ssd",
    "retrain-short",
)
"""AMUN, its variants, the methods of the published tables, SSD, and the cheapest alternative."""

SUITES = (
    Suite("published-rows", ROWS, METHODS),
    Suite("published-rows-fast", tuple(f"{row}-fast" for row in ROWS), METHODS),
    Suite("cifar100-20", tuple(f"cifar100-20-{each}-half" for each in REDUCED), METHODS),
)
"""The published class rows: as published, with a short recipe, and reduced for a CPU.

Dolgova and Stich 2026, https://arxiv.org/abs/2605.31317
"""


RECIPES = (
    NamedRecipe("cifar10-amun", RECIPE, paper=PAPER),
    NamedRecipe("cifar10-amun-fast", FAST_RECIPE, paper=PAPER),
)


@hookimpl
def unlearning_scenarios() -> list[Scenario | Suite | NamedRecipe]:
    """AMUN's protocol, the same with a short training, their recipes, and suites of class rows."""
    return [FULL, FAST, *SUITES, *RECIPES]
