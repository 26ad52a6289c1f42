"""The update rules of the methods that edit weights and then train, and the known bugs held out."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from scipy.optimize import fsolve
from torch import nn
from torch.nn import functional as F

from baselines.ct import CtConfig, ct, transpose_kernels
from baselines.msg import MsgConfig, damping, edited_kernels, idle_weights, msg, redraw
from baselines.munba import MunbaConfig, bargain, munba, nash_weights
from baselines.negmerge import NegmergeConfig, consensus, negmerge
from baselines.sfron import Forgetting, SfronConfig, adaptive_loss, sfron
from harness import Batch, RandomFraction, Recipe, Scenario, UserError

CLASSES = 4


@pytest.fixture
def task(task):
    task.model[1].running_mean.normal_()
    task.model[1].running_var.uniform_(0.5, 2)
    return task


def again(task):
    """The same task, with a copy of the model and a fresh stream."""
    return replace(
        task, model=copy.deepcopy(task.model), generator=torch.Generator().manual_seed(0)
    )


def vector(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def mean_gradients(model, data):
    loss = F.cross_entropy(model.eval()(batch_of(data).images), data.labels)
    return torch.autograd.grad(loss, list(model.parameters()))


def batch_of(data):
    return Batch(data.images.float() / 255, data.labels, data.index, 0, 0.0)


def test_the_closed_form_of_the_bargain_is_the_numerical_one():
    torch.manual_seed(0)
    for angle in (0.3, -0.6, 0.95):
        first = torch.randn(8).double()
        second = 7 * (angle * first / first.norm() + math.sqrt(1 - angle**2) * _across(first))
        products = torch.stack([first @ first, first @ second, second @ second])

        found = torch.stack(nash_weights(*products))

        a, b, c = products.tolist()
        scale = [1 / math.sqrt(a), 1 / math.sqrt(c)]
        solved = fsolve(
            lambda x, a=a, b=b, c=c: [
                (a * x[0] + b * x[1]) * x[0] - 1,
                (b * x[0] + c * x[1]) * x[1] - 1,
            ],
            scale,
        )
        assert found.tolist() == pytest.approx(solved.tolist(), rel=1e-6)
        step = found[0] * first + found[1] * second
        assert step.norm().item() == pytest.approx(math.sqrt(2))
        assert step @ first > 0
        assert step @ second > 0


def _across(direction):
    other = torch.randn(len(direction)).double()
    other -= (other @ direction) / (direction @ direction) * direction
    return other / other.norm()


@pytest.mark.parametrize("forget", [[-2.0, 0.0], [0.0, 0.0]])
def test_without_a_bargain_the_step_is_the_official_codes(forget):
    (found,) = bargain((torch.tensor([1.0, 0.0]),), (torch.tensor(forget),))

    assert found.tolist() == pytest.approx([1 + 0.1 * forget[0], 0.1 * forget[1]])


def test_a_bargain_has_norm_root_two_unless_it_is_clipped(task):
    recipe = Recipe(10, 0.1, batch=40, momentum=0.0, weight_decay=0.0)
    lengths = []
    for clip in (0.5, 1.0, 5.0):
        own = replace(again(task), scenario=Scenario("s", "d", "b", recipe, RandomFraction(0.3)))
        model = munba(own, MunbaConfig(epochs=1, lr=0.01, clip=clip))
        lengths.append((vector(model) - vector(task.model)).norm().item())

    assert lengths[1] / lengths[0] == pytest.approx(2, rel=1e-2)
    assert lengths[2] / lengths[1] == pytest.approx(math.sqrt(2), rel=1e-2)


def test_munba_meets_each_forget_sample_once_an_epoch(task):
    seen = []
    handle = task.model.register_forward_hook(lambda _module, images, _out: seen.append(images[0]))

    munba(task, MunbaConfig(epochs=2))

    handle.remove()
    assert sum(len(images) for images in seen) == 2 * (40 + 20)


def test_the_adaptive_loss_counts_what_is_forgotten_less():
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 4, requires_grad=True), torch.arange(5) % 4
    losses = F.cross_entropy(logits, labels, reduction="none")
    weights = losses.detach() ** -0.5
    expected = (weights * losses).sum() / weights.sum()

    found = adaptive_loss(logits, labels, 0.5)

    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(found, logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, logits)[0])


def test_a_forgetting_step_leaves_masked_weights_and_all_momentum_bit_equal(task):
    weights = dict(task.model.named_parameters())
    optimizer = torch.optim.SGD(weights.values(), 0.1, momentum=0.9, weight_decay=0.1)
    F.cross_entropy(task.model(batch_of(task.retain).images), task.retain.labels).backward()
    optimizer.step()
    mask = {name: torch.rand_like(weight) < 0.5 for name, weight in weights.items()}
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    momentum = {name: optimizer.state[w]["momentum_buffer"].clone() for name, w in weights.items()}

    forgetting = Forgetting(task, SfronConfig(lr=0.1, clip=0.5), mask)
    forgetting.loss(task.model, batch_of(task.retain))  # the first step is a forgetting one
    distances = []
    for _ in range(3):
        moved = [(weight - before[name]).square().sum().item() for name, weight in weights.items()]
        distances.append(math.sqrt(sum(moved)))
        forgetting.carry_on(task.model, optimizer)

    for name, weight in weights.items():
        assert torch.equal(weight[~mask[name]], before[name][~mask[name]])
        assert torch.equal(optimizer.state[weight]["momentum_buffer"], momentum[name])
    # it climbs as far as the clip, and on by the momentum
    assert distances == pytest.approx([0.05, 0.05 * 1.9, 0.05 * 2.71], rel=1e-3)


def test_sfron_is_one_sgd_with_masked_gradients_where_nothing_is_masked(task):
    """Written out with one momentum for both kinds of steps, as in the official code."""
    config = SfronConfig(epochs=1, lr=0.05, forget_every=1, alpha=3.0, threshold=0.0, clip=0.4)
    recipe = replace(task.scenario.recipe, batch=64, weight_decay=0.0)
    task = replace(task, scenario=replace(task.scenario, recipe=recipe))
    own = again(task)
    model, weights = own.model.train(), list(own.model.parameters())
    forget = batch_of(task.forget)
    climbed = -3.0 * adaptive_loss(model(forget.images), forget.labels, 0.5)
    first = torch.autograd.grad(climbed, weights)
    shrink = 0.4 / torch.cat([gradient.flatten() for gradient in first]).norm().item()
    with torch.no_grad():
        for weight, gradient in zip(weights, first, strict=True):
            weight.sub_(0.05 * shrink * gradient)
    kept = F.cross_entropy(model(batch_of(task.retain).images), task.retain.labels)
    second = torch.autograd.grad(kept, weights)
    with torch.no_grad():
        for weight, f, r in zip(weights, first, second, strict=True):
            weight.sub_(0.05 * (0.9 * shrink * f + r))

    found = sfron(task, config)

    torch.testing.assert_close(vector(found), vector(model), rtol=1e-3, atol=1e-5)


def test_sfron_forgets_more_than_its_retain_steps_alone(task):
    losses = []
    for alpha in (0.0, 25.0):
        own = again(task)
        model = sfron(own, SfronConfig(epochs=2, lr=0.02, forget_every=2, alpha=alpha))
        with torch.no_grad():
            logits = model(batch_of(task.forget).images)
        losses.append(F.cross_entropy(logits, task.forget.labels).item())

    assert losses[1] > losses[0]


def test_msg_draws_the_weights_of_the_smallest_gradient_anew_and_no_other(task):
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


def test_the_consensus_is_the_mean_where_all_signs_are_the_same():
    vectors = [torch.tensor([1.0, 1.0, -2.0, 0.0]), torch.tensor([3.0, -1.0, -4.0, 1.0])]

    assert consensus(vectors).tolist() == [2.0, 0.0, -3.0, 0.0]


def test_negmerge_moves_against_the_forget_sets_gradient_and_keeps_the_statistics(task):
    before = copy.deepcopy(task.model).eval()
    gradient = torch.cat([part.flatten() for part in mean_gradients(before, task.forget)])

    model = negmerge(task, NegmergeConfig(lr=0.01))

    step = vector(model) - vector(before)
    assert step @ gradient > 0
    assert 0 < (step != 0).sum() < len(step)
    assert torch.equal(model[1].running_mean, before[1].running_mean)


def test_negmerges_pool_is_three_lengths_times_three_smoothings_from_the_original(
    task, monkeypatch
):
    runs = []

    def noted(model, data, recipe, *, loss, **_rest):
        smooth = loss(model.eval(), batch_of(data)).item()
        assert recipe.weight_decay == 0
        runs.append((recipe.epochs, round(smooth, 4)))
        with torch.no_grad():
            model[0].weight.add_(1)

    monkeypatch.setattr("baselines.negmerge.train", noted)
    logits = task.model.eval()(batch_of(task.forget).images).detach()

    negmerge(task, NegmergeConfig(epochs=10))

    losses = [
        round(F.cross_entropy(logits, task.forget.labels, label_smoothing=s).item(), 4)
        for s in (0.0, 0.05, 0.1)
    ]
    assert runs == [(epochs, loss) for epochs in (8, 10, 12) for loss in losses]


def test_negmerge_of_one_run_twice_as_strong_moves_twice_as_far(task):
    steps = []
    for scale in (1.0, 2.0):
        own = again(task)
        steps.append(vector(negmerge(own, NegmergeConfig(lr=0.01, scale=scale))))
    original = vector(task.model)

    torch.testing.assert_close(steps[1] - original, 2 * (steps[0] - original), atol=1e-6, rtol=1e-3)
