"""Batches by the scenario's recipe, for methods that draw from a second set beside their own."""

from collections.abc import Iterator
from itertools import repeat

from harness import Batch, Data, Task, batches


def one_epoch(task: Task, data: Data) -> Iterator[Batch]:
    """Every row once, in an order drawn from the task's stream."""
    recipe = task.scenario.recipe
    return batches(
        data, batch=recipe.batch, generator=task.generator, augmentation=recipe.augmentation
    )


def endless(task: Task, data: Data) -> Iterator[Batch]:
    """Epoch after epoch without end, each in an order of its own."""
    for _ in repeat(None):
        yield from one_epoch(task, data)
