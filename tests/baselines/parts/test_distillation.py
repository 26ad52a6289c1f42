"""The divergence, and the table of targets by train row."""

import pytest
import torch

from baselines.parts.distillation import by_row, divergence


@pytest.fixture
def task(plain_task):
    return plain_task


def test_the_divergence_sums_over_classes_and_means_over_rows():
    teacher, student = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0)).unbind(0)
    p, q = (teacher / 3).softmax(1), (student / 3).softmax(1)
    rows = [sum(p[i, c] * (p[i, c] / q[i, c]).log() for c in range(7)) for i in range(5)]

    found = divergence(teacher, student, temperature=3.0)

    assert found.item() == pytest.approx(9 * sum(rows).item() / 5, rel=1e-5)


def test_the_divergence_is_not_smaller_where_unlikely_classes_are_added():
    teacher, student = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    wide = [torch.cat([logits, torch.full((1, 98), -50.0)], 1) for logits in (teacher, student)]

    assert divergence(*wide).item() == pytest.approx(divergence(teacher, student).item(), rel=1e-5)


def test_a_target_is_found_by_the_row_of_the_train_set(task):
    values = torch.rand(len(task.retain), 3)

    table = by_row(task.retain, values)

    assert torch.equal(table[task.retain.index], values)
