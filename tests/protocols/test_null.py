"""The null test: to an attack, a retrained model's forget set looks like the test set."""

from dataclasses import replace

import pytest
import torch
from scipy import stats

from harness.datasets.splits import split
from harness.plugins.catalog import load_catalog
from harness.protocols.loss_mia import measure
from harness.runs.models import LoadedDataset, Models
from harness.specs.evidence import Cost, Evidence, Labels, Outputs
from harness.specs.scenario import Replicate

SEEDS = range(500, 506)
"""None of them is ever reported, nor was used to choose a default."""


@pytest.fixture(scope="module")
def models():
    catalog = load_catalog()
    scenario = catalog.scenarios["digits-random10"]
    scenario = replace(scenario, recipe=replace(scenario.recipe, epochs=10))
    dataset = LoadedDataset.load(scenario.dataset, catalog, None)
    return Models(scenario, dataset, catalog, torch.device("cpu"))


def auc(models, seed, trained_on):
    """The attack's AUC in percent on a model trained on those rows of this seed's own split."""
    train, test = models.dataset.train, models.dataset.test
    rows = split(models.scenario, Replicate(seed, seed), train.labels, test.labels)
    made = models.trained(trained_on(rows), rows.forget[:8], seed, "null")
    on_train, on_test = models.outputs(made.weights)
    outputs = Outputs(on_train[rows.forget], on_train[rows.retain], on_test)
    labels = Labels(train.labels[rows.forget], train.labels[rows.retain], test.labels)
    evidence = Evidence(outputs, labels, rows.nonmembers, (), Cost({}, 0.0))
    return measure(evidence)["auc"].value


def test_the_auc_of_retrained_models_covers_one_half_over_fresh_splits(models):
    aucs = [auc(models, seed, lambda rows: rows.retain) for seed in SEEDS]

    assert stats.ttest_1samp(aucs, 50.0).pvalue > 0.01, aucs


def test_the_same_attack_tells_the_forget_set_of_original_models(models):
    everything = torch.arange(len(models.dataset.train))

    aucs = [auc(models, seed, lambda _: everything) for seed in SEEDS]

    assert stats.ttest_1samp(aucs, 50.0, alternative="greater").pvalue < 0.01, aucs
