"""UNSIR: the noise, the impairment and the repair."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from update_rules import pixels

from baselines.unsir import UnsirConfig, noise_images, unsir


@pytest.fixture
def task(plain_task):
    return plain_task


def test_unsirs_noise_raises_the_loss_of_the_class(task):
    task = replace(task, forget=task.forget.relabel(torch.full((12,), 2)))
    nn.init.normal_(task.model[4].weight)  # so steep that the loss outweighs the penalty
    losses = []
    for steps in (0, 40):
        stream = torch.Generator().manual_seed(0)
        noise = noise_images(replace(task, generator=stream), UnsirConfig(noise_steps=steps))
        losses.append(F.cross_entropy(task.model(noise.images), noise.labels).item())
        assert set(noise.labels.tolist()) == {2}

    assert losses[1] > losses[0] + 0.5


def test_the_first_step_on_the_noise_is_adams(task):
    task = replace(task, forget=task.forget.relabel(torch.full((12,), 2)))
    start = torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    mean, scale = pixels(task.forget).mean(), pixels(task.forget).std()
    noise = start.clone().requires_grad_()
    loss = -F.cross_entropy(task.model(mean + scale * noise), torch.full((40,), 2))
    (gradient,) = torch.autograd.grad(loss + 0.1 * noise.square().sum((1, 2, 3)).mean(), noise)

    found = noise_images(task, UnsirConfig(noise_steps=1, noise_lr=0.1)).images

    clear = gradient.abs() > 1e-5
    expected = mean + scale * (start - 0.1 * gradient.sign())
    torch.testing.assert_close(found[clear], expected[clear], rtol=1e-3, atol=1e-4)


def test_unsir_impairs_by_noise_and_then_repairs_on_the_retain_set(task):
    config = UnsirConfig(noise_share=1.0, retain_share=1.0)

    model = unsir(task, config)

    assert int(model[1].num_batches_tracked) == 2 + 1  # 80 rows and 40 rows, forty a batch
    assert all(weight.grad is None or weight.requires_grad for weight in model.parameters())
