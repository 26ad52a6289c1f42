"""Every installed method keeps the contract, and the contract catches those that break it."""

from dataclasses import dataclass, replace

import pytest
import torch

from harness import Method, train
from harness.plugins import load_catalog
from harness.testing import check_method

METHODS = load_catalog().methods


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit[img_size=16,patch_size=4]"])
def test_every_installed_method_keeps_the_contract(name, backbone):
    check_method(METHODS[name], backbone=backbone)


@dataclass(frozen=True)
class Config:
    lr: float = 0.01


def sound(task, config):
    return train(task.model, task.retain, epochs=1, lr=config.lr, generator=task.generator)


def ignores_the_seed(task, config):
    generator = torch.Generator().manual_seed(torch.seed() % 2**32)
    return train(task.model, task.retain, epochs=1, lr=config.lr, generator=generator)


def changes_the_data(task, config):
    task.forget.labels.zero_()
    return task.model


def returns_nan(task, config):
    with torch.no_grad():
        next(task.model.parameters()).fill_(torch.nan)
    return task.model


def returns_nothing(task, config):
    sound(task, config)


def returns_a_bigger_network(task, config):
    return torch.nn.Sequential(task.model)


class Stranger(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.net, self.mean, self.std = model.net, model.mean, model.std


def returns_a_class_of_its_own(task, config):
    return Stranger(task.model)


def leaves_a_hook(task, config):
    next(task.model.children()).register_forward_hook(lambda *_: None)
    return task.model


def replaces_forward(task, config):
    task.model.forward = lambda images: images.flatten(1)[:, :4]
    return task.model


def changes_the_scenario(task, config):
    object.__setattr__(task.scenario.recipe, "epochs", 7)
    return task.model


def changes_its_config(task, config):
    object.__setattr__(config, "lr", 7.0)
    return task.model


def test_a_sound_method_passes():
    check_method(Method("sound", sound, Config()))


@pytest.mark.parametrize(
    ("unlearn", "message"),
    [
        (ignores_the_seed, "the same seed gave other weights"),
        (changes_the_data, "changed the data it was given: .*forget.labels"),
        (returns_nan, "not finite"),
        (returns_nothing, "returned None; expected the unlearned model"),
        (returns_a_bigger_network, "returned a Sequential; expected the original's"),
        (returns_a_class_of_its_own, "returned a Stranger; expected the original's"),
        (leaves_a_hook, "left a hook on net"),
        (replaces_forward, "replaced forward of the model"),
        (changes_its_config, "changed its config"),
        (changes_the_scenario, "changed the scenario"),
    ],
)
def test_a_method_that_breaks_the_contract_is_caught(unlearn, message):
    with pytest.raises(AssertionError, match=message):
        check_method(Method("fault", unlearn, Config()))


def test_a_method_that_needs_what_it_says_it_does_not_is_caught():
    method = replace(Method("fault", sound, Config()), needs_retain=False)

    with pytest.raises(ValueError, match="empty set"):
        check_method(method)
