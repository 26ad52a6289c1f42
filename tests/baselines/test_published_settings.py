"""The settings of the published rows reach the training of every method that has such a row."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from update_rules import again

from amun_plugin.method import AmunConfig, amun
from amun_plugin.variants import (
    AmunAdaptiveConfig,
    AmunAdversarialConfig,
    AmunL1Config,
    AmunSalunConfig,
    AmunTransferredConfig,
    amun_adaptive,
    amun_adversarial,
    amun_l1,
    amun_salun,
    amun_transferred,
)
from baselines.finetune import FinetuneConfig, finetune
from baselines.gradient_ascent import GradientAscentConfig, gradient_ascent
from baselines.l1_sparse import L1SparseConfig, l1_sparse
from baselines.parts.relabelling import RandomLabelsConfig
from baselines.random_labels import random_labels
from baselines.salun import SalunConfig, salun
from harness import Recipe, batches
from harness.training import loop

METHODS = {
    amun: AmunConfig(),
    amun_adaptive: AmunAdaptiveConfig(),
    amun_adversarial: AmunAdversarialConfig(),
    amun_l1: AmunL1Config(),
    amun_salun: AmunSalunConfig(),
    amun_transferred: AmunTransferredConfig(),
    finetune: FinetuneConfig(),
    gradient_ascent: GradientAscentConfig(),
    l1_sparse: L1SparseConfig(),
    random_labels: RandomLabelsConfig(),
    salun: SalunConfig(),
}
PUBLISHED = {
    "epochs": 3,
    "lr": 0.003,
    "schedule": "constant",
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 1e-6,
    "nesterov": False,
}
UNLIKE = Recipe(5, 0.001, 10, momentum=0.5, weight_decay=0.05, optimizer="adamw")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_a_method_trains_by_the_settings_of_its_own(task, monkeypatch, method):
    recipes = []

    def noted(model, data, recipe, **rest):
        recipes.append(recipe)
        return train(model, data, recipe, **rest)

    train = loop.train
    monkeypatch.setattr(loop, "train", noted)
    task = replace(task, scenario=replace(task.scenario, recipe=UNLIKE))

    method(task, replace(METHODS[method], **PUBLISHED))

    assert recipes[-1] == Recipe(3, 0.003, 10, schedule="constant", weight_decay=1e-6)


def test_the_rate_of_gradient_ascent_is_constant_unless_it_is_told_otherwise(task):
    stepped = GradientAscentConfig(schedule="step", step_size=2)

    assert GradientAscentConfig().recipe(task).schedule == "constant"
    assert stepped.recipe(task).schedule == "step"


def by_hand(task, *, epochs, rates, momentum, decay, nesterov):
    """SGD as its formulas say, with a rate for each epoch."""
    weights = [*task.model.parameters()]
    speeds = [torch.zeros_like(weight) for weight in weights]
    task.model.to(memory_format=torch.channels_last).train()
    for batch in batches(task.retain, epochs=epochs, batch=10, generator=task.generator):
        loss = F.cross_entropy(task.model(batch.images), batch.labels)
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient, speed in zip(weights, gradients, speeds, strict=True):
                pull = gradient + decay * weight
                speed.mul_(momentum).add_(pull)
                step = pull + momentum * speed if nesterov else speed
                weight.sub_(rates[batch.epoch] * step)
    return weights


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize(("momentum", "decay"), [(0.9, 0.05), (0.6, 0.0)])
def test_momentum_decay_and_nesterov_of_its_own_move_the_weights(task, momentum, decay, nesterov):
    config = FinetuneConfig(
        4,
        0.02,
        schedule="step",
        step_size=2,
        step_gamma=0.2,
        momentum=momentum,
        weight_decay=decay,
        nesterov=nesterov,
    )
    expected = by_hand(
        again(task),
        epochs=4,
        rates=[0.02, 0.02, 0.004, 0.004],
        momentum=momentum,
        decay=decay,
        nesterov=nesterov,
    )

    found = finetune(task, config)

    for weight, value in zip(found.parameters(), expected, strict=True):
        torch.testing.assert_close(weight, value, rtol=1e-4, atol=1e-6)
