"""The diagonal Fisher, and the methods that take one step with it: SSD and influence."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from baselines.influence import InfluenceConfig, gradient_rows, influence, inverse_fisher_product
from baselines.parts import fisher
from baselines.parts.fisher import diagonal_fisher, sample_gradients
from baselines.sfron import salient
from baselines.ssd import SsdConfig, dampened, ssd, ssd_stored, unlearning_methods
from harness import UserError, join

CLASSES = 4


@pytest.fixture
def task(task):
    task.model[1].running_mean.normal_()
    task.model[1].running_var.uniform_(0.5, 2)
    return task


def plain_gradients(model, data):
    """One backward a sample: name → (n, *shape)."""
    model.eval()
    found = []
    for row in range(len(data)):
        loss = F.cross_entropy(
            model(data.images[row : row + 1].float() / 255), data.labels[row : row + 1]
        )
        found.append(torch.autograd.grad(loss, list(model.parameters())))
    names = [name for name, _ in model.named_parameters()]
    return {
        name: torch.stack(rows) for name, rows in zip(names, zip(*found, strict=True), strict=True)
    }


def flat(gradients):
    return torch.cat([value.flatten(1) for value in gradients.values()], dim=1)


def vector(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


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


def test_an_empty_set_has_no_fisher(task):
    with pytest.raises(ValueError, match="empty"):
        diagonal_fisher(task.model, task.held_out)


def test_ssd_dampens_just_the_weights_that_matter_more_to_the_forget_set(task):
    whole = join(task.forget, task.retain)
    small, large = (
        {name: g.square().mean(0) for name, g in plain_gradients(task.model, data).items()}
        for data in (task.forget, whole)
    )
    before = copy.deepcopy(task.model)

    model = ssd(task, SsdConfig(alpha=1.2, dampening=0.9))

    changed = 0
    for name, weight in before.named_parameters():
        expected = weight.detach().clone()
        for at in range(weight.numel()):
            f, d = small[name].flatten()[at].item(), large[name].flatten()[at].item()
            if f > 1.2 * d:
                expected.view(-1)[at] *= min(0.9 * d / f, 1)
                changed += 1
        torch.testing.assert_close(
            model.get_parameter(name).detach(), expected, atol=1e-5, rtol=1e-3
        )
    assert 0 < changed < sum(weight.numel() for weight in before.parameters())
    assert torch.equal(model[1].running_mean, before[1].running_mean)


def test_ssd_selects_nothing_at_an_alpha_over_the_forget_sets_share(task):
    before = copy.deepcopy(task.model)

    ssd(task, SsdConfig(alpha=3.001))  # 20 of 60 rows
    assert torch.equal(vector(task.model), vector(before))

    ssd(task, SsdConfig(alpha=1.2))
    assert not torch.equal(vector(task.model), vector(before))


def test_ssd_never_enlarges_a_weight_and_leaves_one_without_gradient_alone():
    model = nn.Linear(3, 1, bias=False)
    nn.init.ones_(model.weight)
    forget, whole = torch.tensor([[4.0, 4.0, 0.0]]), torch.tensor([[1.0, 3.0, 0.0]])

    dampened(model, {"weight": forget}, {"weight": whole}, SsdConfig(alpha=1.0, dampening=2.0))

    assert model.weight.tolist() == [[0.5, 1.0, 1.0]]


def test_stored_ssd_is_ssd_where_the_stored_fisher_is_that_of_the_same_data(task):
    stored = unlearning_methods()[1].at_training(task.model, join(task.retain, task.forget))
    other = copy.deepcopy(task.model)
    config = SsdConfig(alpha=1.2)
    ssd_stored(replace(task, model=other, stored=stored), config)

    ssd(task, config)

    torch.testing.assert_close(vector(task.model), vector(other), atol=1e-4, rtol=1e-3)


def test_stored_ssd_says_what_it_lacks(task):
    with pytest.raises(UserError, match="Fisher information that was stored with the original"):
        ssd_stored(task, SsdConfig())


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


def test_the_salience_of_sfron_is_the_ratio_of_the_fishers():
    forget = {"w": torch.tensor([2.0, 1.0, 0.5, 0.0])}
    retain = {"w": torch.tensor([1.0, 1.0, 1.0, 0.0])}

    assert salient(forget, retain, 1.0)["w"].tolist() == [True, True, False, True]
