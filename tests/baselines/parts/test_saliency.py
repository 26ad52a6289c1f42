"""The saliency mask, and training that moves only what is in it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from baselines.parts.saliency import restoring, saliency_mask
from baselines.salun import SalunConfig, salun


def test_masked_weights_and_their_momentum_do_not_move_at_all(task):
    before = {name: w.detach().clone() for name, w in task.model.named_parameters()}
    mask = saliency_mask(task.model, task.forget, 0.3, batch=10)

    model = salun(task, SalunConfig(epochs=3, lr=0.1, ratio=0.3))

    moved = 0
    for name, weight in model.named_parameters():
        assert torch.equal(weight[~mask[name]], before[name][~mask[name]])
        moved += int((weight != before[name]).sum())
    assert moved > 0


def test_the_momentum_of_a_masked_weight_stays_zero(task):
    mask = {
        name: torch.zeros_like(w, dtype=torch.bool) for name, w in task.model.named_parameters()
    }
    restore = restoring(task.model, mask)
    optimizer = torch.optim.SGD(task.model.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    F.cross_entropy(task.model(task.forget.images.float()), task.forget.labels).backward()
    optimizer.step()

    restore(task.model, optimizer)

    assert all(not s["momentum_buffer"].any() for s in optimizer.state.values())


def test_the_mask_takes_the_largest_gradients_over_all_weights_together(task):
    mask = saliency_mask(task.model, task.forget, 0.3, batch=7)

    model = task.model.eval()
    total = F.cross_entropy(
        model(task.forget.images.float() / 255), task.forget.labels, reduction="sum"
    )
    gradients = torch.autograd.grad(total, list(model.parameters()))
    size = torch.cat([g.abs().flatten() for g in gradients])
    chosen = torch.cat([m.flatten() for m in mask.values()])
    assert chosen.sum().item() == pytest.approx(0.3 * len(size), abs=2)
    assert size[chosen].min() >= size[~chosen].max() - 1e-5


def test_a_weight_without_gradient_is_never_salient(task):
    task.model[4].weight.requires_grad_(False)
    task.model[4].weight[:, :48] = 0
    task.model[4].weight.requires_grad_(True)
    dead = nn.Parameter(torch.ones(3))
    task.model.register_parameter("dead", dead)
    task.model.forward = lambda x: nn.Sequential.forward(task.model, x) + 0 * dead.sum()

    mask = saliency_mask(task.model, task.forget, 1.0, batch=7)

    assert not mask["dead"].any()
