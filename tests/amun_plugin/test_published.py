"""AMUN's released schedule, stepped by torch's own optimizer and scheduler beside ours."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from update_rules import again, state

from amun_plugin import Pgd
from amun_plugin.method import PUBLISHED, AmunConfig, amun, mixture, unlearning_methods
from harness import RandomFraction, Recipe, Scenario, UserError, batches
from harness.plugins.catalog import Catalog
from harness.runs.wanted import Wanted, entrants

RELEASED = {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
EPOCHS, STEP, GAMMA, BATCH = 10, 5, 0.1, 8
UNLIKE = Recipe(60, 0.1, BATCH, momentum=0.5, weight_decay=0.1, optimizer="adamw")
"""A recipe from which the released settings may take nothing but the batch."""


@pytest.fixture
def task(task):
    return replace(task, scenario=replace(task.scenario, recipe=UNLIKE))


def released(task, data, *, lr, step):
    """The authors' loop: SGD, and a StepLR that is stepped once an epoch."""
    model = task.model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), **{**RELEASED, "lr": lr}, fused=True)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=step, gamma=GAMMA)
    rates, epoch = [lr], 0
    for batch in batches(data, epochs=EPOCHS, batch=BATCH, generator=task.generator):
        if batch.epoch > epoch:
            scheduler.step()
            rates.append(optimizer.param_groups[0]["lr"])
            epoch = batch.epoch
        optimizer.zero_grad()
        F.cross_entropy(model(batch.images), batch.labels).backward()
        optimizer.step()
    return model.to(memory_format=torch.contiguous_format), rates


def assert_equal_weights(found, expected):
    for name, value in state(expected).items():
        assert torch.equal(found.state_dict()[name], value), name


def test_ten_published_epochs_give_the_weights_of_the_authors_loop(task):
    theirs = again(task)
    expected, rates = released(theirs, mixture(theirs, PUBLISHED), lr=0.05, step=STEP)

    found = amun(task, PUBLISHED)

    assert rates == pytest.approx([0.05] * 5 + [0.005] * 5)
    assert_equal_weights(found, expected)


def test_the_readmes_command_is_a_matter_of_settings(task):
    """R+F+A, 0.01 and a step after each epoch."""
    config = replace(PUBLISHED, mixture="R+F+A", lr=0.01, step_size=1)
    theirs = again(task)
    expected, _ = released(theirs, mixture(theirs, config), lr=0.01, step=1)

    found = amun(task, config)

    assert len(mixture(task, config)) == 40 + 20 + 20
    assert_equal_weights(found, expected)


def test_without_retain_data_it_learns_the_papers_mixture(task):
    task = replace(task, retain=task.retain.select(torch.arange(0)))
    theirs = again(task)
    data = mixture(theirs, replace(PUBLISHED, mixture_without_retain="F+A"))
    expected, _ = released(theirs, data, lr=0.01, step=STEP)

    found = amun(task, PUBLISHED)

    assert_equal_weights(found, expected)


def test_the_published_row_attacks_as_released_and_is_not_tuned():
    (row,) = [method for method in unlearning_methods() if method.name == "amun-paper"]

    assert row.config.attack_settings() == Pgd(eps_init=0.04, steps=50, step=0.1, restart="warm")
    assert not row.search
    assert not row.needs_retain


def chosen(*settings, tuned=""):
    """The config of ``amun`` after these ``--set``."""
    catalog = Catalog(methods={"amun": unlearning_methods()[0]})
    wanted = Wanted(methods=("amun",), settings=settings, tuned=tuned)
    scenario = Scenario("s", "digits", "test_resnet", Recipe(5, 0.1), RandomFraction(0.1))
    return entrants(wanted, catalog, scenario)[0].config


def test_the_published_schedule_can_be_asked_for_on_the_command_line():
    found = chosen(
        *("amun.step_size=5", "amun.schedule=step", "amun.step_gamma=0.1", "amun.epochs=10"),
        *("amun.lr=0.05", "amun.momentum=0.9", "amun.weight_decay=5e-4", "amun.nesterov=false"),
        *("amun.attack=pgd", "amun.optimizer=sgd", "amun.mixture_without_retain=F+A"),
        *("amun.epochs_without_retain=10", "amun.lr_without_retain=0.01"),
    )

    assert found == PUBLISHED


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("amun.schedule=step", "schedule 'step' needs a step_size"),
        ("amun.step_size=5", "step_size belongs to schedule 'step'"),
        ("amun.schedule=stepped", "expected one of one-cycle, cosine, step, constant"),
        ("amun.nesterov=yes", "expected one of true, false"),
        ("amun.momentum=1", "momentum must be a number in [0, 1) or None; got 1.0"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_one_line(setting, told):
    with pytest.raises(UserError) as error:
        chosen(setting)

    assert f"--set {setting}: " in str(error.value)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_the_defaults_have_the_identity_that_they_had():
    assert chosen() == AmunConfig()
    assert chosen("amun.schedule=one-cycle", "amun.momentum=none") == AmunConfig()
