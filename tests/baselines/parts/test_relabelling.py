"""Random labels: never the recorded one, and on the forget set alone."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from baselines.parts.relabelling import relabelling
from harness import Batch

CLASSES = 4


def test_random_labels_are_never_the_recorded_one_and_are_fresh_each_time(task):
    loss = relabelling(task)

    class Fixed(nn.Module):
        def forward(self, _images):
            return torch.eye(CLASSES)[task.forget.labels] * 50

    batch = Batch(task.forget.images.float(), task.forget.labels, task.forget.index, 0, 0.0)
    seen = [loss(Fixed(), batch).item() for _ in range(5)]

    assert all(value == pytest.approx(50, rel=1e-4) for value in seen)


def test_random_labels_leave_the_retain_sets_labels_alone(task):
    batch = Batch(task.retain.images.float(), task.retain.labels, task.retain.index, 0, 0.0)

    found = relabelling(task)(task.model.eval(), batch)

    expected = F.cross_entropy(task.model(batch.images), batch.labels)
    assert found.item() == pytest.approx(expected.item())
