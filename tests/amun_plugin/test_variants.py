"""AMUN's variants do what their names say, without the mistakes of the released code."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from amun_plugin import Closest, attack
from amun_plugin.variants import (
    AmunAdaptiveConfig,
    AmunAdversarialConfig,
    AmunL1Config,
    AmunSalunConfig,
    AmunTransferredConfig,
    Refreshed,
    amun_adaptive,
    amun_adversarial,
    amun_l1,
    amun_salun,
    amun_transferred,
)
from baselines.parts.saliency import saliency_mask
from harness import Batch, Recipe, join, train

CLASSES = 4


@pytest.fixture
def task(task):
    data = join(task.forget, task.retain)
    generator = torch.Generator().manual_seed(0)
    train(task.model, data, Recipe(30, 0.1, batch=10), generator=generator)
    return task


def floats(data):
    return data.images.float() / 255


def weights(model):
    return torch.cat([w.detach().flatten().clone() for w in model.parameters()])


def test_the_adversarial_one_does_not_look_at_the_retain_set(task):
    other = replace(task, retain=task.retain.relabel((task.retain.labels + 1) % CLASSES))
    state = {name: value.clone() for name, value in task.model.state_dict().items()}
    first = weights(amun_adversarial(task, AmunAdversarialConfig()))
    task.model.load_state_dict(state)
    task.generator.manual_seed(0)

    second = weights(amun_adversarial(other, AmunAdversarialConfig()))

    assert torch.equal(first, second)


def test_masked_weights_do_not_move(task):
    mask = saliency_mask(task.model, task.forget, 0.3, batch=10)
    before = {name: w.detach().clone() for name, w in task.model.named_parameters()}

    model = amun_salun(task, AmunSalunConfig(lr=0.2, ratio=0.3))

    for name, weight in model.named_parameters():
        assert torch.equal(weight[~mask[name]], before[name][~mask[name]])
    assert not torch.equal(weights(model), torch.cat([w.flatten() for w in before.values()]))


def test_the_penalty_shrinks_the_weights(task):
    state = {name: value.clone() for name, value in task.model.state_dict().items()}
    norms = []
    for gamma in (0.0, 0.05):
        task.model.load_state_dict(state)
        model = amun_l1(task, AmunL1Config(epochs=4, gamma=gamma))
        norms.append(weights(model).abs().sum().item())

    assert norms[1] < 0.8 * norms[0]


def test_transferred_examples_are_those_of_another_model_trained_here(task, monkeypatch):
    seen = []

    def spied(model, *rest):
        seen.append(model)
        return attack(model, *rest)

    monkeypatch.setattr("amun_plugin.method.attack", spied)

    model = amun_transferred(task, AmunTransferredConfig(share=0.2))

    assert len(seen) == 1
    assert seen[0] is not model
    assert int(seen[0][1].num_batches_tracked) == 2 * 6  # 20 % of 10 epochs, 60 images in tens


def test_each_epoch_has_new_examples_found_on_its_own_model(task, monkeypatch):
    """The released code goes back to the first model's examples after its first epoch (D1)."""
    found = []

    def spied(model, *rest):
        result = attack(model, *rest)
        again = attack(model, *rest)
        found.append((result, again, weights(model)))
        return result

    monkeypatch.setattr("amun_plugin.variants.attack", spied)

    amun_adaptive(task, AmunAdaptiveConfig(epochs=3, lr=0.1))

    assert len(found) == 3
    for (first, again, before), (second, _, after) in itertools.pairwise(found):
        assert torch.equal(first.x, again.x)
        assert not torch.equal(before, after)
        assert not torch.equal(first.x, second.x)


def test_each_forget_row_of_a_batch_becomes_its_example_and_others_stay(task):
    seen = {}

    class Spy(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, images):
            if "on" in seen:
                seen["images"] = images
            return self.model(images)

    model = Spy(task.model)
    loss = Refreshed(task, AmunAdaptiveConfig(epochs=2))
    rows = torch.tensor([3, 25, 7])
    images = torch.cat([floats(task.forget), floats(task.retain)])[rows]
    labels = torch.cat([task.forget.labels, task.retain.labels])[rows]
    batch = Batch(images, labels, rows, 0, 0.0)
    loss(model, batch)
    seen["on"] = True

    value, shown = loss(model, batch), seen["images"]

    expected = attack(model, floats(task.forget), task.forget.labels, Closest(steps=10))
    assert torch.equal(shown[0], expected.x[3])
    assert torch.equal(shown[1], images[1])
    assert torch.equal(shown[2], expected.x[7])
    targets = torch.stack([expected.label[3], labels[1], expected.label[7]])
    wanted = nn.functional.cross_entropy(task.model(shown), targets)
    assert value.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_the_loss_takes_the_examples_of_the_epoch_at_hand(task):
    """And not those of the epoch before, though the model has changed since."""
    loss = Refreshed(task, AmunAdaptiveConfig(epochs=2))
    rows = task.forget.index[:8]
    images, labels = floats(task.forget)[:8], task.forget.labels[:8]
    loss(task.model, Batch(images, labels, rows, 0, 0.0))
    first = attack(task.model, floats(task.forget), task.forget.labels, Closest(steps=10))
    with torch.no_grad():
        for weight in task.model.parameters():
            weight.add_(0.1 * weight.std() * torch.randn_like(weight))

    value = loss(task.model, Batch(images, labels, rows, 1, 0.5))

    found = attack(task.model, floats(task.forget), task.forget.labels, Closest(steps=10))
    wanted = nn.functional.cross_entropy(task.model(found.x[:8]), found.label[:8])
    stale = nn.functional.cross_entropy(task.model(first.x[:8]), first.label[:8])
    assert value.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert value.item() != pytest.approx(stale.item(), rel=1e-3)


def test_a_row_without_an_example_is_left_out_of_the_loss(task, monkeypatch):
    def lame(model, images, *rest):
        found = attack(model, images, *rest)
        return replace(found, status=torch.where(torch.arange(20) == 3, 3, found.status))

    monkeypatch.setattr("amun_plugin.variants.attack", lame)
    loss = Refreshed(task, AmunAdaptiveConfig(epochs=1))
    with_it = Batch(floats(task.forget)[:5], task.forget.labels[:5], task.forget.index[:5], 0, 0.0)
    keep = torch.tensor([0, 1, 2, 4])

    value = loss(task.model.eval(), with_it)

    without = Batch(with_it.images[keep], with_it.labels[keep], with_it.index[keep], 0, 0.0)
    assert value.item() == pytest.approx(loss(task.model, without).item(), rel=1e-5)


def test_without_retain_data_the_other_model_learns_the_forget_set_alone(task, monkeypatch):
    nothing = replace(task, retain=task.retain.select(torch.arange(0)))
    seen = []

    def spied(model, *rest):
        seen.append(model)
        return attack(model, *rest)

    monkeypatch.setattr("amun_plugin.method.attack", spied)

    model = amun_transferred(nothing, AmunTransferredConfig(epochs=1))

    assert int(seen[0][1].num_batches_tracked) == 1 * 2  # 10 % of 10 epochs, 20 images in tens
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert model is task.model


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        (AmunAdaptiveConfig, {"mixture": "R+F+A"}),
        (AmunAdaptiveConfig, {"mixture_without_retain": "F+A"}),
        (AmunAdversarialConfig, {"mixture": "R+F+A"}),
        (AmunAdversarialConfig, {"lr_without_retain": 0.5}),
    ],
)
def test_a_setting_that_would_have_no_effect_is_refused(config, setting):
    with pytest.raises(ValueError, match="has no effect"):
        config(**setting)
