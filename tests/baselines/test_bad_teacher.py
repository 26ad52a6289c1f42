"""Bad Teacher: each set is learned from its own teacher."""

from dataclasses import replace

import pytest
import torch
from update_rules import assert_same_weights, first_rate, one_step, pixels

from baselines.bad_teacher import BadTeacherConfig, bad_teacher
from harness import predict


@pytest.fixture
def task(plain_task):
    return plain_task


def test_bad_teacher_learns_each_set_from_its_own_teacher(task):
    bad = task.untrained()
    task = replace(
        task,
        untrained=lambda: bad,
        scenario=replace(task.scenario, recipe=replace(task.scenario.recipe, batch=64)),
    )
    images = torch.cat([pixels(task.retain), pixels(task.forget)])
    teacher = torch.cat([predict(task.model, task.retain), predict(bad, task.forget)]).softmax(1)

    def loss(model):
        return (teacher * (teacher.log() - model(images).log_softmax(1))).sum(1).mean()

    expected = one_step(task.model, loss, first_rate(0.5))

    assert_same_weights(bad_teacher(task, BadTeacherConfig(1, 0.5, retain_share=1.0)), expected)
