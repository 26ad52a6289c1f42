"""Local Teacher: the neighbours, the small teacher and its soft labels."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from update_rules import assert_same_weights, first_rate, one_step, pixels, state

from baselines.local_teacher import (
    LocalTeacherConfig,
    features,
    local_teacher,
    neighbours,
    small_network,
)

CLASSES = 4


@pytest.fixture
def task(plain_task):
    return plain_task


def test_the_features_are_what_the_classifier_reads(task):
    found, logits = features(task.model, task.forget)

    torch.testing.assert_close(task.model[4](found), logits)
    assert not task.model[4]._forward_pre_hooks


def test_the_neighbours_are_the_nearest_by_angle():
    forget = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    retain = torch.tensor([[9.0, 1.0], [1.0, 1.1], [0.1, 5.0], [-1.0, 0.0], [3.0, 0.0]])

    assert neighbours(forget, retain, 1).tolist() == [2, 4]
    assert neighbours(forget, retain, 2).tolist() == [0, 1, 2, 4]


def test_the_small_teacher_depends_on_its_stream_alone():
    first, second = (
        state(small_network(1, CLASSES, torch.Generator().manual_seed(3))) for _ in range(2)
    )

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_local_teachers_answers_are_the_forget_sets_labels(task):
    recipe = replace(task.scenario.recipe, batch=64)
    task = replace(task, scenario=replace(task.scenario, recipe=recipe))
    teacher = small_network(1, CLASSES, torch.Generator().manual_seed(0)).eval()
    soft = teacher(pixels(task.forget)).softmax(1).detach()

    def loss(model):
        logits = model(torch.cat([pixels(task.retain), pixels(task.forget)]))
        kept = F.cross_entropy(logits[:40], task.retain.labels, reduction="sum")
        return (kept - (soft * logits[40:].log_softmax(1)).sum()) / 52

    expected = one_step(task.model, loss, first_rate(0.5))
    found = local_teacher(task, LocalTeacherConfig(1, 0.5, teacher_epochs=0))

    assert_same_weights(found, expected)
