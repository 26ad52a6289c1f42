"""SSD dampens the weights that matter more to the forget set, and no others."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from update_rules import pixels, plain_gradients, vector

from baselines.ssd import (
    SsdConfig,
    StoredConfig,
    dampened,
    in_order,
    ssd,
    ssd_stored,
    unlearning_methods,
)
from harness import ClassFraction, UserError, WholeClass, join


@pytest.fixture
def task(lived_in_task):
    return lived_in_task


def of_a_class(task, rule):
    """The task with a class to forget: rows 0 to 19 have label 3, the others their own."""
    forget = task.forget.relabel(torch.full((20,), 3))
    return replace(task, forget=forget, scenario=replace(task.scenario, forget=rule))


def batch_gradients(model, data, sizes):
    """One backward a batch, in the data's order: name → (batches, *shape)."""
    found = []
    for rows in torch.arange(len(data)).split(sizes):
        loss = F.cross_entropy(model.eval()(pixels(data.select(rows))), data.labels[rows])
        found.append(torch.autograd.grad(loss, list(model.parameters())))
    names = [name for name, _ in model.named_parameters()]
    return {
        name: torch.stack(rows) for name, rows in zip(names, zip(*found, strict=True), strict=True)
    }


def expected_weights(model, small, large, alpha, dampening=1.0):
    """The dampened weights, entry by entry, and how many differ."""
    changed, expected = 0, {}
    for name, weight in model.named_parameters():
        expected[name] = weight.detach().clone()
        for at in range(weight.numel()):
            f, d = small[name].flatten()[at].item(), large[name].flatten()[at].item()
            if f > alpha * d:
                expected[name].view(-1)[at] *= min(dampening * d / f, 1)
                changed += 1
    return expected, changed


def assert_weights(model, expected):
    for name, value in expected.items():
        torch.testing.assert_close(model.get_parameter(name).detach(), value, atol=1e-5, rtol=1e-3)


def squares(gradients):
    return {name: value.square().mean(0) for name, value in gradients.items()}


def test_ssd_dampens_just_the_weights_that_matter_more_to_the_forget_set(task):
    whole = join(task.forget, task.retain)
    small, large = (squares(plain_gradients(task.model, data)) for data in (task.forget, whole))
    before = copy.deepcopy(task.model)
    expected, changed = expected_weights(before, small, large, alpha=1.2, dampening=0.9)

    model = ssd(task, SsdConfig(alpha=1.2, dampening=0.9, fisher="sample"))

    assert 0 < changed < sum(weight.numel() for weight in before.parameters())
    assert_weights(model, expected)
    assert torch.equal(model[1].running_mean, before[1].running_mean)


def test_ssd_squares_the_gradients_of_batches_of_128_random_rows(task):
    three = join(*[task.retain] * 3, task.retain.select(torch.arange(16)))  # 136 rows
    task = replace(task, retain=three)
    twin = torch.Generator().manual_seed(0)
    forget, retain = (in_order(data, "random", twin) for data in (task.forget, task.retain))
    small = squares(batch_gradients(task.model, forget, [20]))
    large = squares(batch_gradients(task.model, join(retain, forget), [78, 78]))
    expected, changed = expected_weights(task.model, small, large, alpha=10)

    model = ssd(task, SsdConfig())

    assert changed
    assert sorted(retain.index.tolist()) == sorted(three.index.tolist())
    assert_weights(model, expected)


@pytest.mark.parametrize("rule", [WholeClass(3), ClassFraction(3, 0.5)])
def test_ssd_of_a_class_squares_the_gradients_of_batches_of_64_rows_class_by_class(task, rule):
    task = of_a_class(replace(task, retain=join(task.retain, task.retain)), rule)
    rows = join(*[task.retain.select(task.retain.labels == label) for label in range(4)])
    small = squares(batch_gradients(task.model, task.forget, [20]))
    large = squares(batch_gradients(task.model, join(rows, task.forget), [50, 50]))
    expected, changed = expected_weights(task.model, small, large, alpha=10)

    model = ssd(task, SsdConfig())

    assert changed
    assert_weights(model, expected)


def test_ssd_selects_something_at_the_published_settings_where_single_samples_select_nothing(task):
    before = copy.deepcopy(task.model)

    ssd(task, SsdConfig(fisher="sample"))  # with 20 of 60 rows no ratio exceeds 3
    assert torch.equal(vector(task.model), vector(before))

    ssd(task, SsdConfig(alpha=10, dampening=1))
    assert not torch.equal(vector(task.model), vector(before))


def test_an_unknown_form_of_the_fisher_is_refused():
    with pytest.raises(ValueError, match=r"fisher must be one of \('batch', 'sample'\)"):
        SsdConfig(fisher="exact")


def test_ssd_never_enlarges_a_weight_and_leaves_one_without_gradient_alone():
    model = nn.Linear(3, 1, bias=False)
    nn.init.ones_(model.weight)
    forget, whole = torch.tensor([[4.0, 4.0, 0.0]]), torch.tensor([[1.0, 3.0, 0.0]])

    dampened(model, {"weight": forget}, {"weight": whole}, SsdConfig(alpha=1.0, dampening=2.0))

    assert model.weight.tolist() == [[0.5, 1.0, 1.0]]


@pytest.mark.parametrize("rule", [None, WholeClass(3)])
def test_stored_ssd_is_ssd_where_the_stored_fisher_is_that_of_the_same_data(task, rule):
    task = of_a_class(task, rule) if rule else task  # 60 rows: one batch in any order
    stored = unlearning_methods()[1].at_training(task.model, join(task.retain, task.forget))
    other = copy.deepcopy(task.model)
    before = vector(other)
    ssd_stored(replace(task, model=other, stored=stored), StoredConfig())

    ssd(task, SsdConfig())

    assert not torch.equal(before, vector(other))
    torch.testing.assert_close(vector(task.model), vector(other), atol=1e-4, rtol=1e-3)


def test_what_is_stored_is_the_same_every_time(task):
    method = unlearning_methods()[1]

    first, second = (method.at_training(task.model, task.retain) for _ in range(2))

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_stored_ssd_says_what_it_lacks(task):
    with pytest.raises(UserError, match="Fisher information that was stored with the original"):
        ssd_stored(task, StoredConfig())
