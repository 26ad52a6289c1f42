"""CT transposes square kernels and nothing else."""

import pytest
import torch
from torch import nn
from update_rules import batch_of

from baselines.ct import CtConfig, ct, transpose_kernels
from harness import UserError


@pytest.fixture
def task(lived_in_task):
    return lived_in_task


def test_transposed_kernels_see_a_transposed_image(task):
    layer = task.model[0]
    image = batch_of(task.forget).images
    expected = layer(image).transpose(2, 3).detach()

    transpose_kernels(task.model)

    torch.testing.assert_close(layer(image.transpose(2, 3)).detach(), expected)


def test_ct_without_epochs_is_the_transposition_alone(task):
    before = task.model[0].weight.detach().clone()

    model = ct(task, CtConfig(epochs=0))

    assert torch.equal(model[0].weight, before.transpose(2, 3))


def test_ct_says_what_network_it_needs_and_leaves_oblong_kernels():
    model = nn.Sequential(nn.Conv2d(1, 1, (1, 3)), nn.Conv2d(1, 1, 1), nn.Linear(3, 3))

    with pytest.raises(UserError, match="square"):
        transpose_kernels(model)
