"""SCRUB's descents and ascents, and SCRUB+R's choice of a checkpoint."""

import copy
from dataclasses import replace
from itertools import chain

import pytest
import torch
from torch.nn import functional as F
from update_rules import assert_same_weights, one_step, pixels, state

from baselines import scrub as scrub_module
from baselines.scrub import ScrubConfig, nearest, reference_error, scrub, scrub_rewound, scrubbing
from harness import UserError, predict


@pytest.fixture
def task(plain_task):
    return plain_task


def test_scrub_descends_divergence_and_cross_entropy_on_the_retain_set(task):
    teacher = predict(task.model, task.retain)

    def loss(model):
        logits = model(pixels(task.retain))
        p, q = (teacher / 4).softmax(1), (logits / 4).softmax(1)
        apart = 16 * (p * (p.log() - q.log())).sum(1).mean()
        return 0.5 * apart + 0.9 * F.cross_entropy(logits, task.retain.labels)

    expected = one_step(task.model, loss, 0.1)
    config = ScrubConfig(epochs=1, lr=0.1, msteps=0, alpha=0.5, gamma=0.9)

    assert_same_weights(scrub(task, config), expected)


def test_scrub_climbs_the_divergence_on_the_forget_set(task):
    teacher = predict(task.model, task.forget)

    def loss(model):
        p, q = (teacher / 4).softmax(1), (model(pixels(task.forget)) / 4).softmax(1)
        return -16 * (p * (p.log() - q.log())).sum(1).mean()

    expected = one_step(task.model, loss, 0.1)
    config = ScrubConfig(epochs=1, lr=0.1, msteps=1, alpha=0.0, gamma=0.0)

    assert_same_weights(scrub(task, config), expected)


def test_scrub_climbs_once_before_each_of_its_first_descents(task):
    batches_seen = [
        int(model[1].num_batches_tracked) for model in scrubbing(task, ScrubConfig(4, msteps=2))
    ]

    assert batches_seen == [2, 4, 5, 6]


def test_scrubs_learning_rate_falls_to_a_tenth_after_three_five_and_nine_epochs(task, monkeypatch):
    rates = []

    def noted(_task, data, *, lr, **_rest):
        if data is task.retain:
            rates.append(lr)
        return task.model

    monkeypatch.setattr(scrub_module, "fine_tune", noted)

    scrub(task, ScrubConfig(epochs=11, lr=1.0))

    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, *[0.01] * 4, 0.001, 0.001])


def test_the_reference_error_weighs_classes_as_the_forget_set_does(task):
    forget = task.forget.relabel(torch.tensor([0] * 9 + [1] * 3))
    held_out = task.held_out.relabel(torch.tensor([0, 0, 1, 1, 1, 1, 2, 2]))
    found = predict(task.model, held_out).argmax(1)
    wrong = (found != held_out.labels).float()

    expected = 0.75 * wrong[:2].mean() + 0.25 * wrong[2:6].mean()
    assert reference_error(task.model, forget, held_out) == pytest.approx(expected.item())


def test_a_reference_needs_held_out_data_of_the_classes_in_question(task):
    forget = task.forget.relabel(torch.full((12,), 3))
    held_out = task.held_out.relabel(torch.zeros(8, dtype=torch.int64))

    with pytest.raises(UserError, match="held-out data of the forget set's classes"):
        reference_error(task.model, forget, held_out)


def test_a_rewind_takes_the_nearest_error_and_of_several_the_earliest():
    assert nearest([0.1, 0.5, 0.3, 0.9], 0.38) == 2
    assert nearest([0.25, 0.75, 0.25], 0.5) == 0


def test_scrub_r_returns_one_of_scrubs_checkpoints(task):
    config = ScrubConfig(epochs=4, lr=0.3, msteps=3)
    twin = replace(
        task, model=copy.deepcopy(task.model), generator=torch.Generator().manual_seed(0)
    )
    states, errors = [], []
    for model in chain([twin.model], scrubbing(twin, config)):
        states.append(state(model))
        wrong = predict(model, task.forget).argmax(1) != task.forget.labels
        errors.append(wrong.float().mean().item())
    chosen = nearest(errors, reference_error(twin.model, task.forget, task.held_out))

    found = state(scrub_rewound(task, config))

    assert all(torch.equal(found[name], value) for name, value in states[chosen].items())


def test_scrub_r_returns_the_original_where_no_later_checkpoint_is_nearer(task):
    before = state(task.model)

    model = scrub_rewound(task, ScrubConfig(epochs=2, lr=0.0))  # only the statistics move

    found = state(model)
    assert all(torch.equal(found[name], value) for name, value in before.items())


def test_only_scrub_r_needs_held_out_data():
    needs = {m.name: m.needs_held_out for m in scrub_module.unlearning_methods()}

    assert needs == {"scrub": False, "scrub-r": True}
