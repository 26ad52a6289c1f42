"""The training loop against a hand-written one, and what each of its settings does."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from harness import Augmentation, Data, cross_entropy, predict, train

BOTH = Augmentation(crop=True, flip=True)
LR = 0.1


def images(n=50, *, exact=False, augment=True):
    """A learnable set of three classes, 3×6×6."""
    labels = torch.arange(n) % 3
    pixels = torch.randint(0, 100, (n, 3, 6, 6), generator=generator(), dtype=torch.uint8)
    pixels[torch.arange(n), labels] += 100
    return Data.of(pixels / 255 if exact else pixels, labels, augment=augment)


def network(*, dropout=0.0):
    """Small, with all that depends on the mode."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(32, 3),
    )


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first.keys() | second.keys())


def one_cycle(step, steps):
    """The closed form: half a cosine up to the peak in 30 % of the steps, half a cosine down."""
    low, lowest, turn = LR / 25, LR / 25 / 1e4, 0.3 * (steps + 1) - 1
    if step <= turn:
        return low + (LR - low) * (1 - math.cos(math.pi * step / turn)) / 2
    return lowest + (LR - lowest) * (1 + math.cos(math.pi * (step - turn) / (steps - turn))) / 2


def by_hand(model, data, *, epochs, sizes, rate, momentum, weight_decay):
    """SGD as its formula says, on permutations cut at the given sizes."""
    order, step = generator(), 0
    speed = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(data), generator=order).split(sizes):
            loss = F.cross_entropy(model(data.images[rows].float() / 255), data.labels[rows])
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                for name, weight in model.named_parameters():
                    speed[name] = momentum * speed[name] + weight.grad + weight_decay * weight
                    weight.sub_(rate(step) * speed[name])
            step += 1
    return model.eval()


RATES = {
    "one-cycle": one_cycle,
    "cosine": lambda step, steps: LR * (1 + math.cos(math.pi * step / steps)) / 2,
    "constant": lambda _step, _steps: LR,
}


@pytest.mark.parametrize("schedule", RATES)
@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.9, 5e-4), (0.0, 0.0), (0.5, 0.1)])
def test_training_is_sgd_with_momentum_weight_decay_and_the_schedule(
    schedule, momentum, weight_decay
):
    data, epochs, sizes = images(), 3, [16, 17, 17]
    steps = epochs * len(sizes)

    found = train(
        network(),
        data,
        epochs=epochs,
        lr=LR,
        generator=generator(),
        batch=17,
        momentum=momentum,
        weight_decay=weight_decay,
        schedule=schedule,
    )

    expected = by_hand(
        network(),
        data,
        epochs=epochs,
        sizes=sizes,
        rate=lambda step: RATES[schedule](step, steps),
        momentum=momentum,
        weight_decay=weight_decay,
    )
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=0, atol=2e-6, msg=name)


@pytest.mark.parametrize(("n", "epochs"), [(16, 1), (50, 1), (50, 7)])
def test_the_learning_rate_follows_the_cosine_up_and_down(n, epochs):
    rates = []

    def note(_model, optimizer):
        rates.append(optimizer.param_groups[0]["lr"])

    train(
        network(),
        images(n),
        epochs=epochs,
        lr=LR,
        generator=generator(),
        batch=16,
        after_step=note,
    )

    steps = epochs * -(-n // 16)
    assert rates == pytest.approx([one_cycle(step, steps) for step in range(steps)], rel=1e-9)
    assert max(rates) <= LR


def test_the_same_generator_trains_the_same_bits_and_another_does_not():
    trained = [
        train(
            network(),
            images(),
            epochs=2,
            lr=LR,
            generator=generator(seed),
            batch=16,
            augmentation=BOTH,
        ).state_dict()
        for seed in (0, 0, 1)
    ]

    assert same(trained[0], trained[1])
    assert not same(trained[0], trained[2])


def test_training_learns_and_ends_in_eval_mode():
    model = network(dropout=0.3)

    trained = train(model, images(), epochs=8, lr=LR, generator=generator(), batch=16)

    accuracy = (predict(trained, images()).argmax(1) == images().labels).float().mean()
    assert trained is model
    assert accuracy == 1
    assert not any(module.training for module in model.modules())


def test_zero_epochs_change_nothing():
    model, order = network().train(), generator()
    before, state = weights(model), order.get_state()

    trained = train(model, images(), epochs=0, lr=LR, generator=order)

    assert same(trained.state_dict(), before)
    assert torch.equal(order.get_state(), state)
    assert not trained.training


def test_after_step_is_called_once_a_step_and_may_put_weights_back():
    model, calls = network(), []
    before = weights(model)

    def hold_the_convolution(given, optimizer):
        moved = not torch.equal(given[0].weight, before["0.weight"])
        calls.append((given is model, moved, len(optimizer.param_groups[0]["params"])))
        with torch.no_grad():
            given[0].weight.copy_(before["0.weight"])

    train(
        model,
        images(),
        epochs=3,
        lr=LR,
        generator=generator(),
        batch=17,
        after_step=hold_the_convolution,
    )

    assert calls == [(True, True, 6)] * 9
    assert torch.equal(model[0].weight, before["0.weight"])
    assert not torch.equal(model[6].weight, before["6.weight"])


def test_frozen_parameters_do_not_move_by_gradient_momentum_or_decay():
    model = network()
    model[0].requires_grad_(False)
    before = weights(model)

    train(model, images(), epochs=2, lr=LR, generator=generator(), batch=16, weight_decay=0.1)

    assert torch.equal(model[0].weight, before["0.weight"])
    assert torch.equal(model[0].bias, before["0.bias"])
    assert model[0].weight.grad is None
    assert not torch.equal(model[6].weight, before["6.weight"])


def test_the_given_loss_is_descended():
    model, seen = network(), []
    before = predict(model, images())

    def ascent(given, batch):
        seen.append(batch.progress)
        return -cross_entropy(given, batch)

    train(model, images(), epochs=2, lr=0.01, generator=generator(), batch=25, loss=ascent)

    after = F.cross_entropy(predict(model, images()), images().labels)
    assert after > F.cross_entropy(before, images().labels)
    assert seen == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("bf16", "dtype"), [(None, torch.float32), (False, torch.float32), (True, torch.bfloat16)]
)
def test_bf16_turns_autocast_on_for_the_loss_and_keeps_float32_weights(bf16, dtype):
    model, seen = network(), []

    def loss(given, batch):
        logits = given(batch.images)
        seen.append(logits.dtype)
        return F.cross_entropy(logits.float(), batch.labels)

    train(model, images(), epochs=1, lr=LR, generator=generator(), loss=loss, bf16=bf16)

    assert seen == [dtype]
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": -1}, r"must not be negative; got -1 and 0\.1"),
        ({"lr": -0.5}, r"must not be negative; got 1 and -0\.5"),
        ({"lr": math.nan}, "must not be negative; got 1 and nan"),
        ({"lr": math.inf}, "must not be negative; got 1 and inf"),
        ({"momentum": math.nan}, r"momentum must be in \[0, 1\).*got nan"),
        ({"momentum": 1}, r"momentum must be in \[0, 1\).*got 1"),
        ({"weight_decay": math.nan}, "weight_decay not negative; got 0.9 and nan"),
        ({"weight_decay": -1e-4}, "weight_decay not negative"),
        ({"schedule": "cosin"}, "one of 'one-cycle', 'cosine', 'constant'; got 'cosin'"),
        ({"batch": 0}, "batch must be at least 1; got 0"),
        ({"data": images().select(torch.arange(0))}, "cannot train on an empty set"),
    ],
)
def test_settings_out_of_range_are_told(changed, message):
    settings = {"data": images(), "epochs": 1, "lr": LR, "generator": generator(), **changed}

    with pytest.raises(ValueError, match=message):
        train(network(), settings.pop("data"), **settings)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_trains_on_the_same_batches_to_nearly_the_same_model():
    def trained(device):
        return train(
            network().to(device),
            images().to(device),
            epochs=3,
            lr=0.02,
            generator=generator(),
            batch=16,
            augmentation=BOTH,
            bf16=False,
        )

    on_cpu, on_gpu = trained("cpu"), trained("cuda")

    found = predict(on_gpu, images().to("cuda")).cpu()
    torch.testing.assert_close(found, predict(on_cpu, images()), rtol=0.02, atol=0.02)


def pooled():
    """A network whose second BatchNorm sees one value a channel and image."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(8, 8, 1),
        nn.BatchNorm2d(8),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def test_a_single_value_a_channel_is_normalised_by_the_running_statistics():
    data, expected = images(1, augment=False), pooled()
    expected.train()[5].eval()
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(expected(data.images.float() / 255), data.labels).backward()
        optimizer.step()

    found = train(pooled(), data, epochs=3, lr=0.1, generator=generator(), schedule="constant")

    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=0, atol=2e-6, msg=name)
    assert torch.equal(found[5].running_mean, torch.zeros(8))
    assert not torch.equal(found[1].running_mean, torch.zeros(8))
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in found.modules())
    assert not any(layer.training for layer in found.modules())


def test_a_training_that_fails_leaves_no_hook_behind():
    model = pooled()

    def fails(_model, _batch):
        raise KeyError

    with pytest.raises(KeyError):
        train(model, images(), epochs=1, lr=0.1, generator=generator(), loss=fails)

    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())


def test_a_trained_models_weights_are_contiguous_for_what_comes_after():
    model = train(pooled(), images(), epochs=1, lr=0.1, generator=generator())

    F.cross_entropy(model(images().images.float() / 255), images().labels).backward()

    vector = nn.utils.parameters_to_vector(model.parameters())
    gradient = torch.cat([weight.grad.view(-1) for weight in model.parameters()])
    assert len(vector) == len(gradient) == sum(weight.numel() for weight in model.parameters())
    assert all(weight.is_contiguous() for weight in model.parameters())
