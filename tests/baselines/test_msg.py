"""MSG: which weights are redrawn, and how the others are damped."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from update_rules import batch_of, mean_gradients

from baselines.msg import MsgConfig, damping, edited_kernels, idle_weights, msg, redraw
from harness import UserError


@pytest.fixture
def task(lived_in_task):
    return lived_in_task


def test_msg_redraws_the_weights_of_the_smallest_gradient_and_no_others(task):
    # the part of the retain set is all of it where the forget set is as large
    task = replace(task, retain=task.retain.select(torch.arange(20)))
    kernels = edited_kernels(task.model)
    kept, lost = (mean_gradients(task.model, d)[0] for d in (task.retain, task.forget))
    before = task.model[0].weight.detach().clone()

    fresh = idle_weights(task, kernels, 0.3)
    redraw(kernels, fresh, task.generator)

    assert list(kernels) == ["0"]
    size = (kept - lost).abs()
    assert int(fresh["0"].sum()) == round(0.3 * before.numel())
    assert size[fresh["0"]].max() <= size[~fresh["0"]].min() + 1e-7
    assert torch.equal(task.model[0].weight != before, fresh["0"])


def test_damped_weights_get_a_tenth_of_their_gradient_and_only_within(task):
    kernels = edited_kernels(task.model)
    fresh = {"0": torch.rand_like(task.model[0].weight) < 0.3}

    def gradient():
        loss = F.cross_entropy(task.model(batch_of(task.retain).images), task.retain.labels)
        return torch.autograd.grad(loss, task.model[0].weight)[0]

    task.model.eval()
    whole = gradient()
    with damping(kernels, fresh, 0.1):
        damped = gradient()

    torch.testing.assert_close(damped, torch.where(fresh["0"], whole, 0.1 * whole))
    torch.testing.assert_close(gradient(), whole)


def test_msg_edits_the_linear_layers_of_a_network_with_one_convolution_but_the_last():
    model = nn.Sequential(nn.Conv2d(1, 2, 2, 2), nn.Flatten(), nn.Linear(8, 8), nn.Linear(8, 4))

    assert list(edited_kernels(model)) == ["0", "2"]
    with pytest.raises(UserError, match="msg needs"):
        edited_kernels(nn.Sequential(nn.Flatten(), nn.Linear(8, 4)))


def test_msg_moves_the_damped_weights_too(task):
    before = task.model[0].weight.detach().clone()

    model = msg(task, MsgConfig(epochs=1, lr=0.05))

    assert (model[0].weight != before).all()
