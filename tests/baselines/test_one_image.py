"""Every installed method forgets a single image, with and without the retain set."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from harness import Data, GivenRows, Recipe, Scenario, Task
from harness.plugins.catalog import load_catalog

METHODS = load_catalog().methods


def network():
    """Its last BatchNorm sees one value a channel and image, as a small ResNet's does."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(6, 8, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


def one_image(access):
    torch.manual_seed(0)
    images = torch.randint(0, 255, (41, 1, 4, 4), dtype=torch.uint8)
    data = Data.of(images, torch.arange(41) % 4)
    return Task(
        model=network().eval(),
        retain=data.select(torch.arange(1, 31) if access else torch.arange(0)),
        forget=data.select(torch.tensor([0])),
        held_out=data.select(torch.arange(31, 41)),
        untrained=network,
        scenario=Scenario(
            "s", "d", "b", Recipe(4, 0.05, batch=10), GivenRows((0,)), retain_access=access
        ),
        generator=torch.Generator().manual_seed(0),
    )


@pytest.mark.parametrize("access", [1.0, 0.0], ids=["retain", "forget-only"])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_forgets_one_image(name, access):
    method = METHODS[name]
    if method.needs_retain and not access:
        pytest.skip("it needs the retain set")
    task = one_image(access)
    if method.at_training:
        task = replace(task, stored=method.at_training(task.model, task.forget))

    model = method.unlearn(task, method.config)

    with torch.no_grad():
        logits = model.eval()(task.forget.images / 255)
    assert logits.shape == (1, 4)
    assert logits.isfinite().all()
