"""LiRA against scipy's laws, sample by sample, on margins made by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from margins import auc, covers, pooled, sides
from scipy import stats
from scipy.special import logsumexp

from harness.protocols.lira import RANGE, measure, summarise

KINDS = "retrained", "original", "over-forgotten"


def margin(logits, label):
    logits = logits.double().numpy()
    return logits[label] - logsumexp(np.delete(logits, label))


def by_loop(given):
    """Scores online and offline: laws of Student around the variance within samples."""
    pool = given.references
    labels = pool.labels.tolist()
    own = [margin(pool.everything[x], label) for x, label in enumerate(labels)]
    inside = pool.state.numpy() > 0
    every = np.array([[margin(k[x], label) for k in pool.logits] for x, label in enumerate(labels)])
    known = [(row[mask], row[~mask]) for row, mask in zip(every, inside.T, strict=True)]
    within = [
        sum(((each[side] - each[side].mean()) ** 2).sum() for each in known)
        / sum(len(each[side]) - 1 for each in known)
        for side in (0, 1)
    ]

    def law(values, variance):
        k, a = len(values), 2 + len(values) / 2
        scale = np.sqrt((2 * variance + k * values.var() / 2) / a * (1 + 1 / k))
        return stats.t(2 * a, values.mean(), scale)

    laws = [[law(each[side], within[side]) for side in (0, 1)] for each in known]
    online = [i.logpdf(x) - o.logpdf(x) for x, (i, o) in zip(own, laws, strict=True)]
    return np.array(online), np.array([o.logcdf(x) for x, (_, o) in zip(own, laws, strict=True)])


@pytest.mark.parametrize("unlearner", KINDS)
def test_the_aucs_are_scikit_learns_of_the_likelihood_ratios(unlearner):
    given = pooled(unlearner, forget=40, retain=20, test=60)
    online, offline = (sides(given, scores) for scores in by_loop(given))

    found = measure(given)

    assert found["ft-auc"].value == pytest.approx(auc(online[0], online[3]))
    assert found["ft-auc-offline"].value == pytest.approx(auc(offline[0], offline[3]))


def test_the_no_op_is_above_guessing_and_over_forgetting_below():
    found = {kind: measure(pooled(kind, forget=300, retain=100, test=600)) for kind in KINDS}

    for metric in ("ft-auc", "ft-auc-offline"):
        assert covers(found["retrained"][metric])
        assert found["original"][metric].low > 60
        assert found["over-forgotten"][metric].high < 40


def test_non_members_of_other_classes_do_not_count():
    given = pooled(one_class=True, class_bias=2.0, forget=200, test=800)

    found = measure(given)

    everyone = replace(given, nonmembers=torch.arange(len(given.labels.test)))
    assert covers(found["ft-auc"])
    assert measure(everyone)["ft-auc"].low > 60


def test_few_non_members_give_no_true_positive_rate():
    found = measure(pooled(forget=100, test=2200))

    assert found["ft-tpr@1%fpr"].value is not None
    assert found["ft-tpr@0.1%fpr"].value is None
    assert found["ft-tpr@0.1%fpr"].note == "not measurable at n = 1100"


def test_the_summary_has_every_score_and_nearly_all_within_its_range():
    given = pooled("original", forget=400, test=800)

    found = summarise(given)

    outside = found.members[0] + found.members[-1] + found.nonmembers[0] + found.nonmembers[-1]
    assert (sum(found.members), sum(found.nonmembers)) == (400, 400)
    assert (found.low, found.high) == RANGE
    assert outside < 0.01 * 800
