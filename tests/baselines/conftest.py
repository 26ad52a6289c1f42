"""Tasks on which an update rule can be compared with a plain computation."""

from dataclasses import replace

import pytest
import torch

from harness import Recipe, join


@pytest.fixture
def plain_task(task):
    """One batch an epoch, plain gradient descent, and models in eval mode."""
    first = join(task.forget, task.retain)
    recipe = Recipe(10, 0.1, batch=40, momentum=0.0, weight_decay=0.0)
    return replace(
        task,
        model=task.model.eval(),
        forget=first.select(torch.arange(12)),
        held_out=first.select(torch.arange(12, 20)),
        untrained=lambda: task.untrained().eval(),
        scenario=replace(task.scenario, recipe=recipe),
    )


@pytest.fixture
def lived_in_task(task):
    """The BatchNorm's statistics are not those of a new network."""
    task.model[1].running_mean.normal_()
    task.model[1].running_var.uniform_(0.5, 2)
    return task
