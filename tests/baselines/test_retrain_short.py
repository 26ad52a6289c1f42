"""retrain-short trains a new model for its share of the recipe's epochs."""

from baselines.retrain_short import RetrainShortConfig, retrain_short


def test_retrain_short_starts_anew_and_trains_for_its_share(task):
    model = retrain_short(task, RetrainShortConfig(share=0.2))

    assert model is not task.model
    assert int(model[1].num_batches_tracked) == 2 * 4  # 20 % of 10 epochs, 40 images in tens
