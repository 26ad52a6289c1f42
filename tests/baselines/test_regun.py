"""ReGUn: a forget batch is pulled to the original's answers on held-out data."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from update_rules import assert_same_weights, first_rate, one_step, pixels

from baselines.regun import RegunConfig, regun, same_classes
from harness import predict


@pytest.fixture
def task(plain_task):
    return plain_task


def test_regun_pulls_a_batch_to_the_mean_answer_on_held_out_data(task):
    task = replace(task, held_out=task.held_out.select(torch.arange(4)))  # one of each class
    q = predict(task.model, task.held_out).softmax(1).mean(0)  # three forget rows of each class

    def loss(model):
        kept = F.cross_entropy(model(pixels(task.retain)), task.retain.labels)
        found = model(pixels(task.forget)).log_softmax(1)
        return 0.3 * (q * (q.log() - found)).sum(1).mean() + 0.6 * kept

    expected = one_step(task.model, loss, first_rate(0.5))

    assert_same_weights(regun(task, RegunConfig(1, 0.5, 0.3, 0.6)), expected)


def test_regun_bears_a_class_that_no_held_out_row_could_have(task):
    with torch.no_grad():
        task.model[4].bias[0] = -1e4

    model = regun(task, RegunConfig(1, 0.01))

    assert all(weight.isfinite().all() for weight in model.parameters())


def test_held_out_rows_are_drawn_from_the_class_of_each_forget_row():
    held_out = torch.tensor([0, 1, 1, 1, 2])
    labels = torch.tensor([0, 1, 2, 3]).repeat(300)

    drawn = same_classes(labels, held_out, torch.Generator().manual_seed(0))

    assert torch.equal(held_out[drawn][labels < 3], labels[labels < 3])
    assert drawn[labels == 1].bincount()[1:].min() > 60
    assert set(drawn[labels == 3].tolist()) == {0, 1, 2, 3, 4}
