"""The gradient of a whole set, against one backward through all of it."""

import pytest
import torch
from torch.nn import functional as F
from update_rules import pixels

from baselines.parts.gradients import mean_gradients, summed_gradients


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_the_gradient_of_a_set_does_not_depend_on_its_batches(task, batch):
    weights = list(task.model.parameters())
    loss = F.cross_entropy(task.model.eval()(pixels(task.forget)), task.forget.labels)
    expected = torch.autograd.grad(loss, weights)

    mean = mean_gradients(task.model.train(), weights, task.forget, batch=batch)
    total = summed_gradients(task.model.train(), weights, task.forget, batch=batch)

    for gradient, summed, wanted in zip(mean, total, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(summed, 20 * wanted, rtol=1e-4, atol=1e-5)
