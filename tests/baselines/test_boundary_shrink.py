"""Boundary Shrink: the neighbour is one signed step away, and the original labels it."""

import copy

import pytest
import torch
from torch.nn import functional as F
from update_rules import forgetting_class_1

from baselines.boundary_shrink import BoundaryShrinkConfig, boundary_shrink, neighbour_classes


@pytest.fixture
def task(task):
    return forgetting_class_1(task)


def test_the_neighbour_is_one_signed_step_up_the_loss_inside_the_box(task):
    found = neighbour_classes(task.model, task.forget, 0.1, batch=4)

    expected = []
    for image, label in zip(task.forget.images, task.forget.labels, strict=True):
        x = (image[None] / 255).requires_grad_()
        F.cross_entropy(task.model.eval()(x), label[None]).backward()
        neighbour = (x + 0.1 * x.grad.sign()).clamp(0, 1)
        expected.append(task.model(neighbour).argmax().item())
    assert found.tolist() == expected
    assert any(found != task.forget.labels)


def test_the_classes_are_the_originals_throughout(task):
    """AMUN's copy asks the current model again in each epoch."""
    original = copy.deepcopy(task.model)
    wanted = neighbour_classes(original, task.forget, 0.1, batch=10)

    model = boundary_shrink(task, BoundaryShrinkConfig(epochs=60, lr=0.2))

    assert torch.equal(model(task.forget.images / 255).argmax(1), wanted)


def test_a_step_of_nothing_keeps_the_models_own_answer(task):
    near = neighbour_classes(task.model, task.forget, 0.0, batch=10)

    assert torch.equal(near, task.model.eval()(task.forget.images / 255).argmax(1))
