"""The built-in scenarios and suites."""

from __future__ import annotations

from dataclasses import replace

from harness.plugins.hookspecs import hookimpl
from harness.specs.augmentation import Augmentation
from harness.specs.forgetting import ClassFraction, RandomFraction, WholeClass
from harness.specs.scenario import Recipe, Scenario, Suite

DIGITS = Scenario(
    name="digits-random10",
    dataset="noisy-digits",
    backbone="test_resnet",
    recipe=Recipe(epochs=24, lr=0.1, batch=64),
    forget=RandomFraction(0.1),
    replicates=10,
    tuning=0.5,
)
"""One label in five is wrong, so that a model must memorise and there is something to forget. It
memorises 98.1 % of the train set in 20 epochs, and 99.7 % in 24."""

SMALL_IMAGES = Recipe(epochs=30, lr=0.1, batch=128, augmentation=Augmentation(crop=True, flip=True))

CIFAR10 = Scenario(
    name="cifar10-random10",
    dataset="CIFAR10",
    backbone="resnet18",
    recipe=SMALL_IMAGES,
    forget=RandomFraction(0.1),
    stem="small",
    replicates=3,
    tuning=0.5,
)

CIFAR10_5K = Scenario(
    name="cifar10-5k-random10",
    dataset="CIFAR10-5k",
    backbone="test_resnet",
    recipe=Recipe(epochs=20, lr=0.1, batch=128),
    forget=RandomFraction(0.1),
    replicates=10,
    tuning=0.5,
)
"""Real photographs, small enough for a CPU: training takes half a minute and memorises them all."""

FASHION_2K = Scenario(
    name="fashion-2k-random10",
    dataset="FashionMNIST-2k",
    backbone="test_resnet",
    recipe=Recipe(epochs=20, lr=0.1, batch=64),
    forget=RandomFraction(0.1),
    replicates=10,
    tuning=0.5,
)
"""Real 28 px images, small enough for a CPU: every train image is memorised, although one in five
is hard to predict without having seen it."""

SCENARIOS = (
    DIGITS,
    replace(DIGITS, name="digits-random10-forget-only", retain_access=0.0),
    replace(DIGITS, name="digits-random10-tenth", retain_access=0.1),
    replace(DIGITS, name="digits-random10-held-out", held_out=0.1),
    replace(DIGITS, name="digits-class3", dataset="digits", forget=WholeClass(3)),
    replace(DIGITS, name="digits-half-class3", dataset="digits", forget=ClassFraction(3, 0.5)),
    FASHION_2K,
    CIFAR10_5K,
    CIFAR10,
    replace(CIFAR10, name="cifar10-random50", forget=RandomFraction(0.5)),
    replace(CIFAR10, name="cifar10-random10-forget-only", retain_access=0.0),
    replace(CIFAR10, name="cifar100-random10", dataset="CIFAR100"),
    replace(CIFAR10, name="fashion-random10", dataset="FashionMNIST"),
    replace(CIFAR10, name="svhn-random10", dataset="SVHN"),
)

SUITES = (
    Suite("digits", (SCENARIOS[0].name, SCENARIOS[1].name)),
    Suite("fashion-2k", (FASHION_2K.name,)),
    Suite("cifar10-5k", (CIFAR10_5K.name,)),
    Suite("cifar10", (CIFAR10.name, "cifar10-random50", "cifar10-random10-forget-only")),
)


@hookimpl
def unlearning_scenarios() -> list[Scenario | Suite]:
    """Scenarios that run on a CPU, and scenarios from the literature."""
    return [*SCENARIOS, *SUITES]
