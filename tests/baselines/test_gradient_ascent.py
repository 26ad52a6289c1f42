"""Gradient ascent climbs the loss of the forget set."""

import torch
from torch.nn import functional as F

from baselines.gradient_ascent import GradientAscentConfig, gradient_ascent


def loss_on(model, data):
    with torch.no_grad():
        return F.cross_entropy(model.eval()(data.images.float() / 255), data.labels).item()


def test_gradient_ascent_raises_the_loss_of_the_forget_set(task):
    before = loss_on(task.model, task.forget)

    after = loss_on(gradient_ascent(task, GradientAscentConfig(3, 0.01)), task.forget)

    assert after > before
