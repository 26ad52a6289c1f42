"""Influence unlearning, against dense matrices."""

import pytest
import torch
from update_rules import flat, plain_gradients, vector

from baselines.influence import InfluenceConfig, gradient_rows, influence, inverse_fisher_product


@pytest.fixture
def task(lived_in_task):
    return lived_in_task


def test_the_inverse_fisher_product_is_the_dense_one_and_woodburys_recursion():
    torch.manual_seed(0)
    rows, v, damping_ = torch.randn(12, 30), torch.randn(30), 0.3

    found = inverse_fisher_product(rows, v, damping_)

    dense = damping_ * torch.eye(30) + rows.T @ rows / 12
    torch.testing.assert_close(found, torch.linalg.solve(dense, v), atol=1e-3, rtol=1e-3)
    inverse = torch.eye(30) / damping_
    for row in rows:
        image = inverse @ row
        inverse = inverse - torch.outer(image, image) / (12 + row @ image)
    torch.testing.assert_close(found, inverse @ v, atol=1e-3, rtol=1e-3)


def test_influence_takes_the_newton_step_of_dense_matrices(task):
    config = InfluenceConfig(alpha=3.0, damping=0.5, samples=1000)
    kept, lost = (flat(plain_gradients(task.model, d)) for d in (task.retain, task.forget))
    before = vector(task.model)

    model = influence(task, config)

    hessian = 0.5 * torch.eye(len(before)) + kept.T @ kept / len(kept)
    v = len(lost) / (len(lost) + len(kept)) * (lost.mean(0) - kept.mean(0))
    expected = before + 3.0 * torch.linalg.solve(hessian, v)
    torch.testing.assert_close(vector(model), expected, atol=1e-3, rtol=1e-3)


def test_influence_takes_whole_gradients_however_few_samples_give_its_fisher(task):
    heavy = 1000.0  # a damping so large that F has no part
    config = InfluenceConfig(alpha=heavy, damping=heavy, samples=3)
    kept, lost = (flat(plain_gradients(task.model, d)) for d in (task.retain, task.forget))
    before = vector(task.model)

    model = influence(task, config)

    v = len(lost) / (len(lost) + len(kept)) * (lost.mean(0) - kept.mean(0))
    torch.testing.assert_close(vector(model) - before, v, rtol=0.05, atol=1e-3)


def test_gradient_rows_are_means_of_groups_where_memory_is_short(task):
    size = sum(weight.numel() for weight in task.model.parameters())

    rows = gradient_rows(task.model, task.forget, numbers=6 * size + 1)

    expected = flat(plain_gradients(task.model, task.forget)).view(5, 4, size).mean(1)
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=1e-3)
