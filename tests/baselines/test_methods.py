"""The update rules of the baselines, and the known bugs held out."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from baselines.gradient_ascent import GradientAscentConfig, gradient_ascent
from baselines.l1_sparse import L1SparseConfig, l1_sparse
from baselines.parts.relabelling import RandomLabelsConfig, relabelling
from baselines.parts.saliency import restoring, saliency_mask
from baselines.retrain_short import RetrainShortConfig, retrain_short
from baselines.salun import SalunConfig, salun
from harness import Batch

CLASSES = 4


def loss_on(model, data):
    with torch.no_grad():
        return F.cross_entropy(model.eval()(data.images.float() / 255), data.labels).item()


def test_random_labels_are_never_the_own_one_and_are_drawn_anew(task):
    loss = relabelling(task)

    class Fixed(nn.Module):
        def forward(self, _images):
            return torch.eye(CLASSES)[task.forget.labels] * 50

    batch = Batch(task.forget.images.float(), task.forget.labels, task.forget.index, 0, 0.0)
    seen = [loss(Fixed(), batch).item() for _ in range(5)]

    assert all(value == pytest.approx(50, rel=1e-4) for value in seen)


def test_random_labels_leave_the_retain_sets_labels_alone(task):
    batch = Batch(task.retain.images.float(), task.retain.labels, task.retain.index, 0, 0.0)

    found = relabelling(task)(task.model.eval(), batch)

    expected = F.cross_entropy(task.model(batch.images), batch.labels)
    assert found.item() == pytest.approx(expected.item())


def test_gradient_ascent_raises_the_loss_of_the_forget_set(task):
    before = loss_on(task.model, task.forget)

    after = loss_on(gradient_ascent(task, GradientAscentConfig(3, 0.01)), task.forget)

    assert after > before


def test_the_l1_penalty_shrinks_the_weights(task):
    state = {name: value.clone() for name, value in task.model.state_dict().items()}
    norms = []
    for gamma in (0.0, 0.05):
        task.model.load_state_dict(state)
        model = l1_sparse(task, L1SparseConfig(3, 0.05, gamma))
        norms.append(sum(w.abs().sum() for w in model.parameters()).item())

    assert norms[1] < 0.8 * norms[0]


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


def test_retrain_short_starts_anew_and_trains_for_its_share(task):
    model = retrain_short(task, RetrainShortConfig(share=0.2))

    assert model is not task.model
    assert int(model[1].num_batches_tracked) == 2 * 4  # 20 % of 10 epochs, 40 images in tens


@pytest.mark.parametrize("config", [SalunConfig, RandomLabelsConfig, L1SparseConfig])
def test_a_config_cannot_be_changed(config):
    with pytest.raises(AttributeError):
        config().lr = 1.0
