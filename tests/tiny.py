"""A plugin for tests: a problem so small that a whole suite takes a second."""

from dataclasses import replace

import torch
from torch import nn

from harness import Backbone, Data, Dataset, RandomFraction, Recipe, Scenario, Suite, hookimpl


def load(_root):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 3
    images = torch.randint(0, 80, (120, 1, 8, 8), generator=generator, dtype=torch.uint8)
    for label in range(3):
        images[labels == label, :, 2 * label : 2 * label + 3] += 120
    labels[::5] = (labels[::5] + 1) % 3  # noise, so that there is something to memorise
    return Data.of(images[:80], labels[:80]), Data.of(images[80:], labels[80:])


def build(*, channels, classes, size, stem):
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, classes),
    )


TINY = Scenario(
    name="tiny",
    dataset="tiny-set",
    backbone="tiny-net",
    recipe=Recipe(epochs=2, lr=0.1, batch=16),
    forget=RandomFraction(0.25),
    replicates=2,
    tuning=0.5,
)


@hookimpl
def unlearning_datasets():
    return [Dataset("tiny-set", load)]


@hookimpl
def unlearning_backbones():
    return [Backbone("tiny-net", build)]


@hookimpl
def unlearning_scenarios():
    long = replace(TINY, name="tiny-long", recipe=Recipe(epochs=10, lr=0.1, batch=16))
    return [TINY, long, Suite("tiny-suite", ("tiny",), methods=("finetune", "random-labels"))]
