"""What every distilling method shares: the divergence, and a table of targets by train row."""

import torch
from torch import Tensor
from torch.nn import functional as F

from harness import Data


def divergence(teacher: Tensor, student: Tensor, *, temperature: float = 1.0) -> Tensor:
    """The mean over the rows of KL(teacher ‖ student), times temperature².

    Both are logits ``(b, classes)``. The sum over the classes is not divided by their number,
    which taking the mean over all elements would do by mistake.
    """
    target = F.log_softmax(teacher.float() / temperature, dim=1)
    found = F.log_softmax(student.float() / temperature, dim=1)
    return F.kl_div(found, target, reduction="batchmean", log_target=True) * temperature**2


def by_row(data: Data, values: Tensor) -> Tensor:
    """Values ``(n, …)`` of the data as a table that ``Batch.index`` selects from; 0 elsewhere."""
    table = values.new_zeros(int(data.index.max()) + 1, *values.shape[1:])
    return torch.index_put(table, (data.index,), values)
