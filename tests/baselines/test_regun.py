"""ReGUn: a forget batch is pulled to the original's answers on held-out data."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from update_rules import assert_same_weights, one_step, pixels

from baselines.regun import RegunConfig, regun, selected
from harness import predict


@pytest.fixture
def task(plain_task):
    return plain_task


def with_one_reference(task, **recipe):
    """The task with a single held-out row, and the original's answer there."""
    task = replace(
        task,
        held_out=task.held_out.select(torch.arange(1)),
        scenario=replace(task.scenario, recipe=replace(task.scenario.recipe, **recipe)),
    )
    return task, predict(task.model, task.held_out).softmax(1)[0]


def loss_of(model, task, q, forget_weight=0.5, retain_weight=0.5):
    kept = F.cross_entropy(model(pixels(task.retain)), task.retain.labels)
    found = model(pixels(task.forget)).log_softmax(1)
    return forget_weight * (q * (q.log() - found)).sum(1).mean() + retain_weight * kept


def test_regun_pulls_a_batch_to_the_mean_answer_on_held_out_data(task):
    task = replace(task, held_out=task.held_out.select(torch.arange(4)))  # one of each class
    q = predict(task.model, task.held_out).softmax(1).mean(0)  # three forget rows of each class
    expected = one_step(task.model, lambda model: loss_of(model, task, q, 0.3, 0.6), 0.5)

    found = regun(task, RegunConfig(1, 0.5, 0.3, 0.6, selector="class-matched"))

    assert_same_weights(found, expected)


def test_regun_takes_constant_steps_without_the_recipes_weight_decay(task):
    task, q = with_one_reference(task, weight_decay=0.1)
    twin = copy.deepcopy(task.model)
    for _ in range(2):
        weights = one_step(twin, lambda model: loss_of(model, task, q), 0.5)
        for weight, value in zip(twin.parameters(), weights, strict=True):
            weight.data = value

    assert_same_weights(regun(task, RegunConfig(2, 0.5)), list(twin.parameters()))


def test_regun_can_have_a_weight_decay_of_its_own(task):
    task, q = with_one_reference(task)
    before = [weight.detach().clone() for weight in task.model.parameters()]
    plain = one_step(task.model, lambda model: loss_of(model, task, q), 0.5)
    expected = [value - 0.5 * 0.1 * old for value, old in zip(plain, before, strict=True)]

    assert_same_weights(regun(task, RegunConfig(1, 0.5, weight_decay=0.1)), expected)


def test_an_epoch_of_regun_is_a_pass_over_the_forget_set(task):
    task, _ = with_one_reference(task, batch=5)  # 12 forget rows: three batches; 40 retained rows

    model = regun(task, RegunConfig(epochs=2, lr=0.01))

    assert model[1].num_batches_tracked == 2 * 3 * 2  # a step sees a batch of either set


def test_regun_bears_a_class_that_no_held_out_row_could_have(task):
    with torch.no_grad():
        task.model[4].bias[0] = -1e4

    model = regun(task, RegunConfig(1, 0.01))

    assert all(weight.isfinite().all() for weight in model.parameters())


def test_the_uniform_selector_draws_from_all_held_out_rows_alike():
    labels, held_out = torch.zeros(4000, dtype=torch.int64), torch.tensor([0, 1, 2, 3])

    drawn = selected("uniform", labels, held_out, torch.Generator().manual_seed(0))

    assert drawn.bincount().tolist() == pytest.approx([1000] * 4, abs=120)


def test_an_unknown_selector_is_refused():
    with pytest.raises(ValueError, match="selector must be one of"):
        RegunConfig(selector="nearest")


def test_held_out_rows_are_drawn_from_the_class_of_each_forget_row():
    held_out = torch.tensor([0, 1, 1, 1, 2])
    labels = torch.tensor([0, 1, 2, 3]).repeat(300)

    drawn = selected("class-matched", labels, held_out, torch.Generator().manual_seed(0))

    assert torch.equal(held_out[drawn][labels < 3], labels[labels < 3])
    assert drawn[labels == 1].bincount()[1:].min() > 60
    assert set(drawn[labels == 3].tolist()) == {0, 1, 2, 3, 4}
