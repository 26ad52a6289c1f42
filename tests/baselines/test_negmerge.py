"""NegMerge: the consensus of the fine-tunings, and the step away from it."""

import copy

import pytest
import torch
from torch.nn import functional as F
from update_rules import again, batch_of, mean_gradients, vector

from baselines.negmerge import NegmergeConfig, consensus, negmerge


@pytest.fixture
def task(lived_in_task):
    return lived_in_task


def test_the_consensus_is_the_mean_where_all_signs_are_the_same():
    vectors = [torch.tensor([1.0, 1.0, -2.0, 0.0]), torch.tensor([3.0, -1.0, -4.0, 1.0])]

    assert consensus(vectors).tolist() == [2.0, 0.0, -3.0, 0.0]


def test_negmerge_moves_against_the_forget_sets_gradient_and_keeps_the_statistics(task):
    before = copy.deepcopy(task.model).eval()
    gradient = torch.cat([part.flatten() for part in mean_gradients(before, task.forget)])

    model = negmerge(task, NegmergeConfig(lr=0.01))

    step = vector(model) - vector(before)
    assert step @ gradient > 0
    assert 0 < (step != 0).sum() < len(step)
    assert torch.equal(model[1].running_mean, before[1].running_mean)


def test_negmerges_pool_is_three_lengths_times_three_smoothings_from_the_original(
    task, monkeypatch
):
    runs = []

    def noted(model, data, recipe, *, loss, **_rest):
        smooth = loss(model.eval(), batch_of(data)).item()
        assert recipe.weight_decay == 0
        runs.append((recipe.epochs, round(smooth, 4)))
        with torch.no_grad():
            model[0].weight.add_(1)

    monkeypatch.setattr("baselines.negmerge.train", noted)
    logits = task.model.eval()(batch_of(task.forget).images).detach()

    negmerge(task, NegmergeConfig(epochs=10))

    losses = [
        round(F.cross_entropy(logits, task.forget.labels, label_smoothing=s).item(), 4)
        for s in (0.0, 0.05, 0.1)
    ]
    assert runs == [(epochs, loss) for epochs in (8, 10, 12) for loss in losses]


def test_negmerge_of_one_run_twice_as_strong_moves_twice_as_far(task):
    steps = []
    for scale in (1.0, 2.0):
        own = again(task)
        steps.append(vector(negmerge(own, NegmergeConfig(lr=0.01, scale=scale))))
    original = vector(task.model)

    torch.testing.assert_close(steps[1] - original, 2 * (steps[0] - original), atol=1e-6, rtol=1e-3)
