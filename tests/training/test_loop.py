"""The training loop against a hand-written one, and what each of its settings does."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from harness import Augmentation, Data, Recipe, batches, cross_entropy, fine_tune, predict, train

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
    "step": lambda step, steps: LR * 0.3 ** (step // (2 * steps // 3)),
    "constant": lambda _step, _steps: LR,
}
SETTINGS = {"step": {"step_size": 2, "gamma": 0.3}}
"""What a schedule needs beside its name; three epochs are trained."""


@pytest.mark.parametrize("schedule", RATES)
@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.9, 5e-4), (0.0, 0.0), (0.5, 0.1)])
def test_training_is_sgd_with_momentum_weight_decay_and_the_schedule(
    schedule, momentum, weight_decay
):
    data, epochs, sizes = images(), 3, [16, 17, 17]
    steps = epochs * len(sizes)

    recipe = Recipe(epochs, LR, 17, momentum, weight_decay, schedule, **SETTINGS.get(schedule, {}))
    found = train(network(), data, recipe, generator=generator())

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


OPTIMIZERS = {
    "SGD": lambda weights: torch.optim.SGD(
        weights, LR, momentum=0.9, weight_decay=5e-4, fused=True
    ),
    "SGD without momentum": lambda weights: torch.optim.SGD(
        weights, LR, weight_decay=0.1, fused=True
    ),
    "Nesterov": lambda weights: torch.optim.SGD(
        weights, LR, momentum=0.5, weight_decay=5e-4, nesterov=True, fused=True
    ),
    "AdamW": lambda weights: torch.optim.AdamW(weights, LR, weight_decay=5e-4, fused=True),
    "AdamW of another average": lambda weights: torch.optim.AdamW(
        weights, LR, betas=(0.5, 0.999), weight_decay=0.1, fused=True
    ),
}
IN_A_RECIPE = {
    "SGD": {},
    "SGD without momentum": {"momentum": 0.0, "weight_decay": 0.1},
    "Nesterov": {"momentum": 0.5, "nesterov": True},
    "AdamW": {"optimizer": "adamw"},
    "AdamW of another average": {"optimizer": "adamw", "momentum": 0.5, "weight_decay": 0.1},
}
SCHEDULERS = {
    "one-cycle": lambda optimizer, steps: lr_scheduler.OneCycleLR(
        optimizer, LR, total_steps=steps + 1, cycle_momentum=False
    ),
    "cosine": lr_scheduler.CosineAnnealingLR,
    "step": lambda optimizer, steps: lr_scheduler.MultiStepLR(optimizer, [2 * steps // 3], 0.3),
    "constant": lambda optimizer, _steps: lr_scheduler.ConstantLR(optimizer, factor=1),
}


@pytest.mark.parametrize("schedule", SCHEDULERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_step_of_a_recipe_is_that_of_a_plain_torch_loop(optimizer, schedule):
    data, found, expected = images(), [], []
    settings = {**IN_A_RECIPE[optimizer], **SETTINGS.get(schedule, {})}
    recipe = Recipe(3, LR, 17, schedule=schedule, **settings)
    plain = network().to(memory_format=torch.channels_last).train()
    chosen = OPTIMIZERS[optimizer](plain.parameters())
    scheduler = SCHEDULERS[schedule](chosen, 9)
    for part in batches(data, epochs=3, batch=17, generator=generator()):
        chosen.zero_grad()
        F.cross_entropy(plain(part.images), part.labels).backward()
        chosen.step()
        scheduler.step()
        expected.append(weights(plain))

    train(
        network(),
        data,
        recipe,
        generator=generator(),
        after_step=lambda model, _: found.append(weights(model)),
    )

    assert len(found) == len(expected) == 9
    assert all(same(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(10, 0.3, 16, optimizer="adamw", weight_decay=0.1),
        Recipe(10, 0.3, 16, nesterov=True, schedule="step", step_size=2, augmentation=BOTH),
    ],
)
def test_fine_tuning_is_training_by_the_scenarios_recipe_but_for_length_rate_and_schedule(
    task, recipe
):
    task = replace(task, scenario=replace(task.scenario, recipe=recipe))
    settings = {"epochs": 2, "lr": 0.01, "schedule": "cosine"}
    short = replace(recipe, **settings, step_size=0)
    expected = train(network(), images(), short, generator=generator())

    found = fine_tune(task, images(), model=network(), **settings)

    assert same(found.state_dict(), expected.state_dict())


def test_fine_tuning_inherits_from_the_scenarios_other_recipe_if_it_has_one(task):
    models = Recipe(10, 0.3, 8, optimizer="adamw", weight_decay=0.1, augmentation=BOTH)
    methods = Recipe(99, 9.0, 16, weight_decay=1e-6, schedule="cosine")
    scenario = replace(task.scenario, recipe=models, fine_tuning=methods)
    short = Recipe(2, 0.01, 16, weight_decay=1e-6)
    expected = train(network(), images(), short, generator=generator())

    found = fine_tune(
        replace(task, scenario=scenario), images(), model=network(), epochs=2, lr=0.01
    )

    assert same(found.state_dict(), expected.state_dict())


@pytest.mark.parametrize(("n", "epochs"), [(16, 1), (50, 1), (50, 7)])
def test_the_learning_rate_follows_the_cosine_up_and_down(n, epochs):
    rates = []

    def note(_model, optimizer):
        rates.append(optimizer.param_groups[0]["lr"])

    train(network(), images(n), Recipe(epochs, LR, 16), generator=generator(), after_step=note)

    steps = epochs * -(-n // 16)
    assert rates == pytest.approx([one_cycle(step, steps) for step in range(steps)], rel=1e-9)
    assert max(rates) <= LR


def test_the_same_generator_trains_the_same_bits_and_another_does_not():
    recipe = Recipe(2, LR, 16, augmentation=BOTH)

    trained = [
        train(network(), images(), recipe, generator=generator(seed)).state_dict()
        for seed in (0, 0, 1)
    ]

    assert same(trained[0], trained[1])
    assert not same(trained[0], trained[2])


def test_training_learns_and_ends_in_eval_mode():
    model = network(dropout=0.3)

    trained = train(model, images(), Recipe(8, LR, 16), generator=generator())

    accuracy = (predict(trained, images()).argmax(1) == images().labels).float().mean()
    assert trained is model
    assert accuracy == 1
    assert not any(module.training for module in model.modules())


def test_zero_epochs_change_nothing():
    model, order = network().train(), generator()
    before, state = weights(model), order.get_state()

    trained = train(model, images(), Recipe(0, LR), generator=order)

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

    recipe = Recipe(3, LR, 17)
    train(model, images(), recipe, generator=generator(), after_step=hold_the_convolution)

    assert calls == [(True, True, 6)] * 9
    assert torch.equal(model[0].weight, before["0.weight"])
    assert not torch.equal(model[6].weight, before["6.weight"])


def test_frozen_parameters_do_not_move_by_gradient_momentum_or_decay():
    model = network()
    model[0].requires_grad_(False)
    before = weights(model)

    train(model, images(), Recipe(2, LR, 16, weight_decay=0.1), generator=generator())

    assert torch.equal(model[0].weight, before["0.weight"])
    assert torch.equal(model[0].bias, before["0.bias"])
    assert model[0].weight.grad is None
    assert not torch.equal(model[6].weight, before["6.weight"])


def test_the_given_loss_is_descended():
    model, seen = network(), []
    before = predict(model, images())

    def ascent(given, batch):
        seen.append((batch.epoch, batch.progress))
        return -cross_entropy(given, batch)

    train(model, images(), Recipe(2, 0.01, 25), generator=generator(), loss=ascent)

    after = F.cross_entropy(predict(model, images()), images().labels)
    assert after > F.cross_entropy(before, images().labels)
    assert seen == [(0, 0), (0, 0.25), (1, 0.5), (1, 0.75)]


def test_the_loss_is_in_float32_on_a_cpu():
    assert type_of_the_logits("cpu") == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_loss_is_under_bfloat16_autocast_on_a_gpu():
    assert type_of_the_logits("cuda") == torch.bfloat16


def type_of_the_logits(device):
    """Of the numbers that a model gives to a loss; its weights stay in float32."""
    model, seen = network().to(device), []

    def loss(given, batch):
        logits = given(batch.images)
        seen.append(logits.dtype)
        return F.cross_entropy(logits.float(), batch.labels)

    train(model, images().to(device), Recipe(1, LR), generator=generator(), loss=loss)

    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    return seen[0]


@pytest.mark.parametrize("epochs", [0, 1])
def test_an_empty_set_is_refused(epochs):
    empty = images().select(torch.arange(0))

    with pytest.raises(ValueError, match="cannot train on an empty set"):
        train(network(), empty, Recipe(epochs, LR), generator=generator())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_trains_on_the_same_batches_to_nearly_the_same_model():
    def in_float32(model, batch):
        with torch.autocast(batch.images.device.type, enabled=False):
            return cross_entropy(model, batch)

    def trained(device):
        model, data = network().to(device), images().to(device)
        recipe = Recipe(3, 0.02, 16, augmentation=BOTH)
        return train(model, data, recipe, generator=generator(), loss=in_float32)

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

    found = train(pooled(), data, Recipe(3, 0.1, schedule="constant"), generator=generator())

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
        train(model, images(), Recipe(1, 0.1), generator=generator(), loss=fails)

    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())


def test_a_trained_models_weights_are_contiguous_for_what_comes_after():
    model = train(pooled(), images(), Recipe(1, 0.1), generator=generator())

    F.cross_entropy(model(images().images.float() / 255), images().labels).backward()

    vector = nn.utils.parameters_to_vector(model.parameters())
    gradient = torch.cat([weight.grad.view(-1) for weight in model.parameters()])
    assert len(vector) == len(gradient) == sum(weight.numel() for weight in model.parameters())
    assert all(weight.is_contiguous() for weight in model.parameters())
