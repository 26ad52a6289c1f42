"""SSD dampens the weights that matter more to the forget set, and no others."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from update_rules import plain_gradients, vector

from baselines.ssd import SsdConfig, dampened, ssd, ssd_stored, unlearning_methods
from harness import UserError, join


@pytest.fixture
def task(lived_in_task):
    return lived_in_task


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
