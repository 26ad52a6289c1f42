"""DELETE: the recorded class gets nothing, the others keep their ratios."""

import pytest
import torch
from torch.nn import functional as F
from update_rules import assert_same_weights, one_step, pixels

from baselines.delete import DeleteConfig, delete, without_class
from harness import predict

CLASSES = 4


@pytest.fixture
def task(plain_task):
    return plain_task


def test_delete_gives_the_recorded_class_nothing_and_keeps_the_ratios_of_the_others(task):
    logits = predict(task.model, task.forget)

    found = without_class(logits, task.forget.labels).softmax(1)

    own = F.one_hot(task.forget.labels, CLASSES).bool()
    plain = logits.softmax(1).masked_fill(own, 0.0)
    assert not found[own].any()
    torch.testing.assert_close(found, plain / plain.sum(1, keepdim=True))


def test_delete_descends_the_divergence_to_the_masked_answers(task):
    p = predict(task.model, task.forget).softmax(1).clone()
    p[torch.arange(12), task.forget.labels] = 0
    p /= p.sum(1, keepdim=True)

    def loss(model):
        return -(p * model(pixels(task.forget)).log_softmax(1)).sum(1).mean()

    expected = one_step(task.model, loss, 0.5)

    assert_same_weights(delete(task, DeleteConfig(1, 0.5)), expected)
