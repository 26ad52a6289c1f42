"""Boundary Expand: a shadow class takes the forget set and goes."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from update_rules import forgetting_class_1

from baselines.boundary_expand import BoundaryExpandConfig, boundary_expand, classifier, widened
from harness import Recipe, UserError, join, train

CLASSES = 4


@pytest.fixture
def task(task):
    return forgetting_class_1(task)


def loss(model, data):
    with torch.no_grad():
        return F.cross_entropy(model.eval()(data.images / 255), data.labels).item()


def test_the_shadow_class_takes_the_forget_set_and_goes(task):
    everything = join(task.retain, task.forget)
    train(task.model, everything, Recipe(30, 0.1, batch=10), generator=task.generator)
    head, names = task.model[4], list(task.model.state_dict())
    before = loss(task.model, task.forget)

    model = boundary_expand(task, BoundaryExpandConfig(epochs=10, lr=0.1))

    assert model[4] is head
    assert list(model.state_dict()) == names
    assert model(task.forget.images / 255).shape[1] == CLASSES
    assert loss(model, task.forget) > before + 0.5


def test_one_class_is_added_once_and_the_optimizer_trains_it(task, monkeypatch):
    """AMUN's copy adds one an epoch, and hands none to the optimizer."""
    made = []

    def spied(head, generator):
        made.append(widened(head, generator))
        made.append(made[-1].weight.detach().clone())
        return made[-2]

    monkeypatch.setattr("baselines.boundary_expand.widened", spied)

    boundary_expand(task, BoundaryExpandConfig(epochs=3, lr=0.1))

    assert len(made) == 2
    assert made[0].weight.shape == (CLASSES + 1, 96)
    assert not torch.equal(made[0].weight[-1], made[1][-1])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_a_wider_head_gives_the_old_classes_the_same_logits(kind, bias):
    torch.manual_seed(0)
    head = nn.Linear(5, 3, bias=bias) if kind == "linear" else nn.Conv2d(5, 3, 1, bias=bias)
    inputs = torch.rand(2, 5) if kind == "linear" else torch.rand(2, 5, 1, 1)

    wide = widened(head, torch.Generator().manual_seed(0))

    assert torch.allclose(wide(inputs)[:, :3], head(inputs))
    assert wide(inputs).shape[1] == 4


def test_a_wider_convolution_keeps_its_dilation_and_its_padding():
    torch.manual_seed(0)
    head = nn.Conv2d(5, 3, 3, padding=2, dilation=2, padding_mode="circular")
    inputs = torch.rand(2, 5, 6, 6)

    wide = widened(head, torch.Generator().manual_seed(0))

    torch.testing.assert_close(wide(inputs)[:, :3], head(inputs))
    assert (wide.out_channels, head.out_channels) == (4, 3)


def test_a_network_without_a_linear_head_is_refused(task):
    with pytest.raises(UserError, match="no linear layer of 4 outputs"):
        classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 7)), 4)
