"""Every installed method keeps the contract, and methods that break it are caught."""

import copy
import gc
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from harness import Data, Method, as_float, fine_tune, train
from harness.plugins.catalog import load_catalog
from harness.specs.search import Choice, Span
from harness.testing.contract import TINY_BACKBONES, check_method
from harness.testing.watch import Provenance

METHODS = load_catalog().methods


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_installed_method_keeps_the_contract(name):
    check_method(METHODS[name])


@dataclass(frozen=True)
class Config:
    lr: float = 0.01


def sound(task, config):
    return fine_tune(task, task.retain, epochs=1, lr=config.lr)


def ignores_the_seed(task, config):
    generator = torch.Generator().manual_seed(torch.seed() % 2**32)
    return train(task.model, task.retain, task.scenario.recipe, generator=generator)


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


class Wrapper(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.net, self.mean, self.std = model.net, model.mean, model.std


def returns_a_class_of_its_own(task, config):
    return Wrapper(task.model)


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


TEST_SET = torch.rand(40, 1, 16, 16)
STRIP = TEST_SET[0, 0, :4, :4]


def learns(task, images, labels):
    loss = F.cross_entropy(task.model(images), labels)
    loss.backward()
    torch.optim.SGD(task.model.parameters(), lr=0.01, fused=True).step()
    return task.model


def computes_with_a_global(task, config):
    return learns(task, TEST_SET, torch.zeros(40).long())


def computes_with_parts_of_a_global(task, config):
    task.forget.images.float().mean() + STRIP.mean()
    return task.model


def in_memory(rows):
    return next(o for o in gc.get_objects() if type(o) is Data and len(o) == rows)


def finds_the_test_images_in_memory(task, config):
    test = in_memory(16)
    return learns(task, as_float(test.images), test.labels)


def finds_the_test_labels_in_memory(task, config):
    with torch.no_grad():
        next(task.model.parameters()).add_(int(in_memory(16).labels[0]) + 1)
    return task.model


def finds_the_hidden_labels_in_memory(task, config):
    labels = in_memory(32).labels.clone()
    labels[task.retain.index], labels[task.forget.index] = 0, 0
    with torch.no_grad():
        next(task.model.parameters()).add_(int(labels.sum()))
    return task.model


def loads_a_data_set(task, config):
    digits = torch.from_numpy(load_digits().images[:20]).float()
    return learns(task, F.pad(digits, (4, 4, 4, 4))[:, None], torch.zeros(20).long())


def copies_a_data_set(task, config):
    digits = torch.tensor(load_digits().images[:20], dtype=torch.float32)
    return learns(task, F.pad(digits, (4, 4, 4, 4))[:, None], torch.zeros(20).long())


def works_in_secret(task, config):
    with torch._C.DisableTorchFunction():
        return sound(task, config)


def replaces_a_part(task, config):
    for part in task.model.modules():
        for name, child in part.named_children():
            if isinstance(child, torch.nn.ReLU):
                setattr(part, name, torch.nn.Identity())
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
        (returns_a_class_of_its_own, "returned a Wrapper; expected the original's"),
        (leaves_a_hook, "left a hook on net"),
        (replaces_forward, "replaced forward of the model"),
        (changes_its_config, "changed its config"),
        (changes_the_scenario, "changed the scenario"),
        (replaces_a_part, "changed the architecture"),
        (works_in_secret, "work was not counted: 0 of about"),
        (
            computes_with_a_global,
            r"from outside its task: \(40, 1, 16, 16\) .*at test_contract.py:",
        ),
        (computes_with_parts_of_a_global, r"from outside its task: \(4, 4\)"),
        (finds_the_test_images_in_memory, "from outside its task|not granted"),
        (finds_the_test_labels_in_memory, "sees what it was not granted: with another test set"),
        (finds_the_hidden_labels_in_memory, "not granted: .* and other hidden train rows"),
        (loads_a_data_set, r"from outside its task: \(20, 8, 8\)"),
        (copies_a_data_set, r"from outside its task: \(20, 8, 8\)"),
    ],
)
def test_a_method_that_breaks_the_contract_is_caught(unlearn, message):
    with pytest.raises(AssertionError, match=message):
        check_method(Method("fault", unlearn, Config()))


def test_a_method_that_needs_data_it_claims_not_to_need_is_caught():
    method = replace(Method("fault", sound, Config()), needs_retain=False)

    with pytest.raises(ValueError, match="empty set"):
        check_method(method)


def sound_in_many_ways(task, config):
    """Does what an honest method may do, and makes tensors in many ways."""
    best, fresh = copy.deepcopy(task.model), task.untrained()
    images = copy.deepcopy(as_float(task.forget.images))
    weights = {name: w.detach() for name, w in fresh.named_parameters()}

    def loss(weights, image):
        return torch.func.functional_call(fresh, weights, (image[None],)).square().sum()

    fresh.eval()
    torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, images)
    images = torch.from_numpy(images.numpy())
    noise = torch.rand(images.shape, generator=task.generator)
    return learns(
        replace(task, model=best), images + noise.to_sparse().to_dense(), task.forget.labels
    )


def means(model, data):
    return {"mean": as_float(data.images).mean(0), "logits": model(as_float(data.images)).detach()}


def uses_what_it_stored(task, config):
    assert task.stored["logits"].shape == (32, 4)
    return learns(task, task.stored["mean"][None].repeat(4, 1, 1, 1), torch.arange(4))


def test_an_honest_method_may_copy_tensors_and_use_vmap_and_random_numbers():
    check_method(Method("honest", sound_in_many_ways, Config()), backbone="test_resnet")


def test_a_method_gets_what_it_stored_when_the_original_was_trained():
    check_method(Method("storing", uses_what_it_stored, Config(), at_training=means))


def test_a_method_that_stores_no_tensors_is_caught():
    method = Method("storing", sound, Config(), at_training=lambda *_: {"n": 32})

    with pytest.raises(AssertionError, match=r"at_training returned .*expected named tensors"):
        check_method(method)


def test_the_contract_can_be_checked_on_a_single_backbone():
    method = Method("fault", computes_with_a_global, Config())

    with pytest.raises(AssertionError, match=r"with 'test_convnext'"):
        check_method(method, backbone=TINY_BACKBONES[2])


@dataclass(frozen=True)
class Nested:
    parts: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Related:
    low: float = 0.1
    high: float = 0.5

    def __post_init__(self):
        if self.low > self.high:
            raise ValueError("low must not be above high")


@dataclass(frozen=True)
class Whole:
    epochs: int = 4


@pytest.mark.parametrize(
    ("config", "search", "message"),
    [
        (Nested(), {}, "a setting must convert from its text: .*parts"),
        (Related(), {"low": Span(0.1, 0.5), "high": Span(0.2, 0.9)}, "rejects .*'low': 0.5"),
        (Whole(), {"epochs": Choice((1.5, 2))}, "must convert from its text: .*epochs=1.5"),
    ],
)
def test_settings_that_cannot_be_tuned_or_set_from_text_are_caught(config, search, message):
    with pytest.raises(AssertionError, match=message):
        check_method(Method("fault", sound, config, search=search))


def test_reused_memory_of_a_granted_tensor_is_not_known():
    watch = Provenance(allowed=4)
    values = np.ones(64, dtype=np.float32)
    granted = torch.from_numpy(values)
    watch.grant([granted])
    del granted
    foreign = torch.from_numpy(values)

    with watch:
        foreign + 1

    assert watch.foreign.startswith("(64,)")
