"""A step of all weights as one vector."""

import torch
from update_rules import vector

from baselines.parts.weights import moved


def test_a_model_moves_by_the_vector_and_its_statistics_stay(task):
    model = task.model.train()
    before = vector(model)
    step = torch.randn(len(before))
    statistics = [buffer.clone() for buffer in model.buffers()]

    found = moved(model, step)

    assert found is model
    assert torch.equal(vector(found), before + step)
    assert all(map(torch.equal, found.buffers(), statistics))
    assert not found.training
