"""RMIA against its definition, sample by sample, on margins made by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from margins import auc, covers, pooled, sides
from scipy import stats
from scipy.special import softmax

from harness.attacks.rmia import amun
from harness.protocols import rmia
from harness.protocols.rmia import measure, summarise

KINDS = "retrained", "original", "over-forgotten"


def by_loop(given):
    """The log of p_y, less that of its mean over all reference models, by sample."""
    pool = given.references
    found = []
    for x, label in enumerate(pool.labels.tolist()):
        own = softmax(pool.everything[x].double().numpy())[label]
        others = [softmax(logits[x].double().numpy())[label] for logits in pool.logits]
        found.append(np.log(own) - np.log(sum(others) / len(others)))
    return np.array(found)


@pytest.mark.parametrize("unlearner", KINDS)
def test_the_aucs_are_scikit_learns_of_the_log_ratios_with_members_on_the_first_side(unlearner):
    given = pooled(unlearner)
    forget, retain, test, nonmembers = sides(given, by_loop(given))

    found = measure(given)

    assert found["ft-auc"].value == pytest.approx(auc(forget, nonmembers))
    assert found["fr-auc"].value == pytest.approx(auc(retain, forget))
    assert found["rt-auc"].value == pytest.approx(auc(retain, test))
    assert found["ft-auc"].n == len(forget) + len(nonmembers)


def test_the_no_op_is_above_guessing_and_over_forgetting_below():
    found = {kind: measure(pooled(kind, forget=300, retain=300, test=600)) for kind in KINDS}

    assert covers(found["retrained"]["ft-auc"])
    assert found["original"]["ft-auc"].low > 60
    assert found["over-forgotten"]["ft-auc"].high < 40
    assert found["retrained"]["fr-auc"].low > 60
    assert covers(found["original"]["fr-auc"])
    assert found["over-forgotten"]["fr-auc"].low > found["retrained"]["fr-auc"].high
    assert all(each["rt-auc"].low > 60 for each in found.values())


def test_amuns_auc_is_that_of_its_released_score_over_all_samples():
    given = pooled("original")
    pool = given.references
    scores = amun(pool.everything.numpy(), pool.logits.numpy(), pool.labels.numpy())
    forget, _, _, nonmembers = sides(given, scores)

    found = measure(given)

    assert found["ft-auc-amun"].value == pytest.approx(auc(forget, nonmembers))


def test_the_true_positive_rate_is_that_of_the_step_curve():
    given = pooled("original", forget=200, test=2200)
    forget, _, _, nonmembers = sides(given, by_loop(given))
    threshold = np.sort(nonmembers)[::-1][11]  # 1 % of 1,100 may be at or above it

    found = measure(given)

    assert found["ft-tpr@1%fpr"].value == pytest.approx(100 * np.mean(forget > threshold))
    assert found["ft-tpr@0.1%fpr"].value is None
    assert found["ft-tpr@0.1%fpr"].note == "not measurable at n = 1100"


def test_ten_thousand_non_members_measure_the_tpr_at_a_thousandth():
    given = pooled("original", models=4, forget=300, retain=20, test=20_000)
    pool = given.references
    every = torch.cat([pool.everything[None], pool.logits.float()]).double()
    own, *known = softmax(every.numpy(), -1)[:, np.arange(len(pool.labels)), pool.labels]
    forget, _, _, nonmembers = sides(given, np.log(own / np.mean(known, axis=0)))
    threshold = np.sort(nonmembers)[::-1][10]

    found = measure(given)["ft-tpr@0.1%fpr"]

    assert len(nonmembers) == 10_000
    assert found.value == pytest.approx(100 * np.mean(forget > threshold))
    assert found.low < found.value < found.high


def test_a_small_test_set_has_neither_true_positive_rate_nor_a_test_of_equivalence():
    found = measure(pooled())

    for name in ("ft-tpr@1%fpr", "ft-tpr@0.1%fpr"):
        assert (found[name].value, found[name].note) == (None, "not measurable at n = 30")
    assert found["ft-equivalence"].value is None
    assert found["ft-equivalence"].note == "underpowered at n = 30"


def test_equivalence_is_the_larger_p_value_of_two_one_sided_tests():
    given = pooled(forget=1500, test=3000)
    forget, _, _, nonmembers = sides(given, by_loop(given))
    wins = np.array([np.mean(one > nonmembers) for one in forget])
    losses = np.array([np.mean(forget > one) for one in nonmembers])
    error = np.sqrt(wins.var(ddof=1) / len(wins) + losses.var(ddof=1) / len(losses))
    z = np.array([wins.mean() - 0.48, 0.52 - wins.mean()]) / error

    found = measure(given)

    assert found["ft-equivalence"].value == pytest.approx(stats.norm.sf(z).max())
    assert measure(pooled("original", forget=1500, test=3000))["ft-equivalence"].value > 0.99


def test_non_members_of_other_classes_do_not_count():
    given = pooled(one_class=True, class_bias=2.0, forget=200, test=800)

    found = measure(given)

    everyone = replace(given, nonmembers=torch.arange(len(given.labels.test)))
    assert covers(found["ft-auc"])
    assert measure(everyone)["ft-auc"].low > 60


def test_the_summary_has_every_score_and_nearly_all_within_its_range():
    given = pooled("original", forget=400, test=800)
    low, high = rmia.RANGE
    forget, _, _, nonmembers = sides(given, by_loop(given))

    found = summarise(given)

    assert (sum(found.members), sum(found.nonmembers)) == (400, 400)
    assert (found.low, found.high) == (low, high)
    for counts, scores in ((found.members, forget), (found.nonmembers, nonmembers)):
        assert np.mean((scores < low) | (scores > high)) < 0.01
        assert counts == tuple(np.histogram(scores.clip(low, high), len(counts), (low, high))[0])
