"""Gradients of single samples and the diagonal Fisher, against a plain loop."""

import pytest
import torch
from update_rules import plain_gradients

from baselines.parts import fisher
from baselines.parts.fisher import batch_fisher, diagonal_fisher, sample_gradients


@pytest.fixture
def task(lived_in_task):
    return lived_in_task


def test_gradients_of_single_samples_are_those_of_a_plain_loop_over_any_chunks(task, monkeypatch):
    size = sum(weight.numel() for weight in task.model.parameters())
    monkeypatch.setattr(fisher, "CHUNK_NUMBERS", 7 * size)

    chunks = list(sample_gradients(task.model, task.forget))

    assert [len(chunk["0.weight"]) for chunk in chunks] == [7, 7, 6]
    for name, expected in plain_gradients(task.model, task.forget).items():
        found = torch.cat([chunk[name] for chunk in chunks])
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_fisher_squares_gradients_of_samples_and_not_of_batches(task):
    found = diagonal_fisher(task.model, task.retain)

    for name, gradients in plain_gradients(task.model, task.retain).items():
        torch.testing.assert_close(found[name], gradients.square().mean(0), atol=1e-6, rtol=1e-4)
        assert found[name].sum() > 2 * gradients.mean(0).square().sum()


def test_the_fisher_of_batches_squares_the_mean_gradient_of_each_in_the_datas_order(task):
    found = batch_fisher(task.model, task.retain, batch=15)  # 40 rows: 14, 13 and 13

    for name, gradients in plain_gradients(task.model, task.retain).items():
        means = torch.stack([part.mean(0) for part in gradients.split([14, 13, 13])])
        torch.testing.assert_close(found[name], means.square().mean(0), atol=1e-6, rtol=1e-3)
    assert all(weight.grad is None for weight in task.model.parameters())


def test_a_weight_that_the_loss_does_not_reach_has_no_fisher(task):
    task.model.spare = torch.nn.Identity()
    task.model.spare.weight = torch.nn.Parameter(torch.ones(3))

    assert batch_fisher(task.model, task.retain, batch=64)["spare.weight"].tolist() == [0, 0, 0]


def test_an_empty_set_has_no_fisher(task):
    with pytest.raises(ValueError, match="empty"):
        diagonal_fisher(task.model, task.held_out)
    with pytest.raises(ValueError, match="empty"):
        batch_fisher(task.model, task.held_out, batch=64)
