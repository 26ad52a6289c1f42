"""Attack-R against interpolation by numpy, sample by sample, on margins made by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from margins import auc, covers, pooled, sides
from scipy.special import log_softmax

from harness.protocols.attack_r import measure

KINDS = "retrained", "original", "over-forgotten"


def by_loop(given):
    """Minus the position of the model's loss among those of models without the sample."""
    pool = given.references
    found = []
    for x, label in enumerate(pool.labels.tolist()):
        own, *known = (
            -log_softmax(logits[x].double().numpy())[label]
            for logits in (pool.everything, *pool.logits)
        )
        unseen = [loss for loss, state in zip(known, pool.state, strict=True) if state[x] == 0]
        ladder = [0.0, *sorted(unseen), 1000.0]
        found.append(-np.interp(own, ladder, np.linspace(0, 1, len(ladder))))
    return np.array(found)


@pytest.mark.parametrize("unlearner", KINDS)
def test_the_auc_is_scikit_learns_of_the_positions(unlearner):
    given = pooled(unlearner)
    forget, _, _, nonmembers = sides(given, by_loop(given))

    assert measure(given)["ft-auc"].value == pytest.approx(auc(forget, nonmembers))


def test_the_no_op_is_above_guessing_and_over_forgetting_below():
    found = {kind: measure(pooled(kind, seed=1, forget=300, test=600))["ft-auc"] for kind in KINDS}

    assert covers(found["retrained"])
    assert found["original"].low > 60
    assert found["over-forgotten"].high < 40


def test_non_members_of_other_classes_do_not_count():
    given = pooled(one_class=True, class_bias=2.0, forget=200, test=800)

    found = measure(given)["ft-auc"]

    everyone = replace(given, nonmembers=torch.arange(len(given.labels.test)))
    assert covers(found)
    assert measure(everyone)["ft-auc"].low > 60
