"""The batches of a second set, without end."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from baselines.parts.streams import endless


@pytest.fixture
def task(plain_task):
    return plain_task


def test_the_second_set_restarts_whenever_it_runs_out(task):
    scenario = replace(task.scenario, recipe=replace(task.scenario.recipe, batch=6))

    parts = list(islice(endless(replace(task, scenario=scenario), task.forget), 6))

    seen = torch.cat([part.index for part in parts]).bincount()
    assert seen.tolist() == [3] * 12
