"""Random parts of a set."""

import torch

from harness import Data, Task


def share_of(task: Task, data: Data, share: float) -> Data:
    """A random part of the data, at least one row."""
    order = torch.randperm(len(data), generator=task.generator)
    return data.select(order[: max(1, round(share * len(data)))])
