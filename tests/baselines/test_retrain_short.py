"""retrain-short trains a new model for its share of the recipe's epochs."""

from dataclasses import replace

import torch

from baselines.retrain_short import RetrainShortConfig, retrain_short
from harness import Recipe, train


def test_retrain_short_trains_a_new_model_for_its_share_of_the_epochs(task):
    model = retrain_short(task, RetrainShortConfig(share=0.2))

    assert model is not task.model
    assert int(model[1].num_batches_tracked) == 2 * 4  # 20 % of 10 epochs, 40 images in tens


def test_retrain_short_keeps_the_scenarios_optimizer_and_schedule(task):
    recipe = Recipe(10, 0.1, batch=10, optimizer="adamw", schedule="step", step_size=1, gamma=0.5)
    other = Recipe(3, 0.5, batch=5)  # for methods that fine-tune
    task = replace(task, scenario=replace(task.scenario, recipe=recipe, fine_tuning=other))
    again = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    expected = train(task.untrained(), task.retain, replace(recipe, epochs=2), generator=again)
    torch.manual_seed(0)

    model = retrain_short(task, RetrainShortConfig(share=0.2))

    for found, weight in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(found, weight)
