"""SFRon: forgetting steps on salient weights, with a momentum of their own."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from update_rules import again, batch_of, vector

from baselines.sfron import Forgetting, SfronConfig, adaptive_loss, salient, sfron


@pytest.fixture
def task(lived_in_task):
    return lived_in_task


def test_the_salience_of_sfron_is_the_ratio_of_the_fishers():
    forget = {"w": torch.tensor([2.0, 1.0, 0.5, 0.0])}
    retain = {"w": torch.tensor([1.0, 1.0, 1.0, 0.0])}

    assert salient(forget, retain, 1.0)["w"].tolist() == [True, True, False, True]


def test_the_adaptive_loss_counts_what_is_forgotten_less():
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 4, requires_grad=True), torch.arange(5) % 4
    losses = F.cross_entropy(logits, labels, reduction="none")
    weights = losses.detach() ** -0.5
    expected = (weights * losses).sum() / weights.sum()

    found = adaptive_loss(logits, labels, 0.5)

    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(found, logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, logits)[0])


def test_a_forgetting_step_leaves_masked_weights_and_all_momentum_bit_equal(task):
    weights = dict(task.model.named_parameters())
    optimizer = torch.optim.SGD(weights.values(), 0.1, momentum=0.9, weight_decay=0.1)
    F.cross_entropy(task.model(batch_of(task.retain).images), task.retain.labels).backward()
    optimizer.step()
    mask = {name: torch.rand_like(weight) < 0.5 for name, weight in weights.items()}
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    momentum = {name: optimizer.state[w]["momentum_buffer"].clone() for name, w in weights.items()}

    forgetting = Forgetting(task, SfronConfig(lr=0.1, clip=0.5), mask)
    forgetting.loss(task.model, batch_of(task.retain))  # the first step is a forgetting one
    distances = []
    for _ in range(3):
        moved = [(weight - before[name]).square().sum().item() for name, weight in weights.items()]
        distances.append(math.sqrt(sum(moved)))
        forgetting.carry_on(task.model, optimizer)

    for name, weight in weights.items():
        assert torch.equal(weight[~mask[name]], before[name][~mask[name]])
        assert torch.equal(optimizer.state[weight]["momentum_buffer"], momentum[name])
    # it climbs as far as the clip, and on by the momentum
    assert distances == pytest.approx([0.05, 0.05 * 1.9, 0.05 * 2.71], rel=1e-3)


def test_sfron_is_one_sgd_with_masked_gradients_where_nothing_is_masked(task):
    """Written out with one momentum for both kinds of steps, as in the official code."""
    config = SfronConfig(epochs=1, lr=0.05, forget_every=1, alpha=3.0, threshold=0.0, clip=0.4)
    recipe = replace(task.scenario.recipe, batch=64, weight_decay=0.0)
    task = replace(task, scenario=replace(task.scenario, recipe=recipe))
    own = again(task)
    model, weights = own.model.train(), list(own.model.parameters())
    forget = batch_of(task.forget)
    climbed = -3.0 * adaptive_loss(model(forget.images), forget.labels, 0.5)
    first = torch.autograd.grad(climbed, weights)
    shrink = 0.4 / torch.cat([gradient.flatten() for gradient in first]).norm().item()
    with torch.no_grad():
        for weight, gradient in zip(weights, first, strict=True):
            weight.sub_(0.05 * shrink * gradient)
    kept = F.cross_entropy(model(batch_of(task.retain).images), task.retain.labels)
    second = torch.autograd.grad(kept, weights)
    with torch.no_grad():
        for weight, f, r in zip(weights, first, second, strict=True):
            weight.sub_(0.05 * (0.9 * shrink * f + r))

    found = sfron(task, config)

    torch.testing.assert_close(vector(found), vector(model), rtol=1e-3, atol=1e-5)


def test_sfron_forgets_more_than_its_retain_steps_alone(task):
    losses = []
    for alpha in (0.0, 25.0):
        own = again(task)
        model = sfron(own, SfronConfig(epochs=2, lr=0.02, forget_every=2, alpha=alpha))
        with torch.no_grad():
            logits = model(batch_of(task.forget).images)
        losses.append(F.cross_entropy(logits, task.forget.labels).item())

    assert losses[1] > losses[0]
