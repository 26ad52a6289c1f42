"""The forgetting quality of ensembles with margins made by hand."""

import numpy as np
import pytest
from margins import ensembled
from scipy.special import logsumexp

from harness.attacks.forgetting_quality import null, quality
from harness.protocols import forgetting_quality
from harness.protocols.forgetting_quality import RELABELLINGS, measure


def margins(models, labels):
    own = labels.forget.tolist()
    return np.array(
        [
            [z[y] - logsumexp(np.delete(z, y)) for z, y in zip(logits, own, strict=True)]
            for logits in (each.forget.double().numpy() for each in models)
        ]
    )


def of_both(given):
    models = given.ensembles
    return tuple(margins(side, models.labels) for side in (models.unlearned, models.retrained))


def accuracy(models, labels, name):
    own = getattr(labels, name).numpy()
    return np.mean([(getattr(each, name).numpy().argmax(1) == own).mean() for each in models])


@pytest.mark.parametrize("unlearner", ["retrained", "original", "over-forgotten"])
def test_the_score_and_its_null_are_those_of_the_forget_sets_margins(unlearner):
    given = ensembled(unlearner)

    found = measure(given)

    assert found["score"].value == pytest.approx(quality(*of_both(given)))
    assert found["null"].value == pytest.approx(
        null(*of_both(given), relabellings=RELABELLINGS).mean
    )
    assert found["score"].n == found["null"].n == 12


def test_the_final_score_has_both_accuracies_as_shares_of_the_retrained_models():
    given = ensembled("original")
    models = given.ensembles
    expected = measure(given)["score"].value
    for name in ("retain", "test"):
        unlearned, retrained = (
            accuracy(side, models.labels, name) for side in (models.unlearned, models.retrained)
        )
        assert unlearned != retrained
        expected *= unlearned / retrained

    assert measure(given)["final"].value == pytest.approx(expected)


def test_a_perfect_unlearner_has_its_null_and_the_others_less():
    perfect = [measure(ensembled(seed=seed, models=16)) for seed in range(4)]

    score, expected = (
        np.mean([each[name].value for each in perfect]) for name in ("score", "null")
    )
    assert score == pytest.approx(expected, abs=0.05)
    for unlearner in ("original", "over-forgotten"):
        found = measure(ensembled(unlearner, models=16, sizes=(30, 5, 5)))
        assert found["score"].value < 0.8 * found["null"].value


def test_of_a_large_forget_set_the_same_images_are_taken_each_time(monkeypatch):
    given = ensembled("original", sizes=(20, 5, 5))
    whole = measure(given)
    monkeypatch.setattr(forgetting_quality, "IMAGES", 10)

    found = measure(given)

    assert found["score"].n == 10
    assert found["score"].value != whole["score"].value
    assert measure(given) == found


def test_fewer_than_six_models_have_no_null_and_so_no_value():
    found = measure(ensembled(models=5))

    assert {each.note for each in found.values()} == {"not measurable at N = 5"}
    assert measure(ensembled(models=6))["score"].value is not None
