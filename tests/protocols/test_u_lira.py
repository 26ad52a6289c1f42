"""U-LiRA against scipy's laws, pair by pair, on margins made by hand."""

import numpy as np
import pytest
from margins import auc, covers, replayed
from scipy import stats
from scipy.special import logsumexp

from harness.protocols.u_lira import RANGE, measure, summarise

KINDS = "retrained", "original", "over-forgotten"


def by_loop(given):
    """Scores of all pairs (model, sample), fitted without the model and its twin, and members."""
    replays = given.replays
    members = replays.state.numpy() == 2
    logits, labels = replays.logits.double().numpy(), replays.labels.tolist()
    margins = np.array(
        [
            [z[y] - logsumexp(np.delete(z, y)) for z, y in zip(k, labels, strict=True)]
            for k in logits
        ]
    )
    within = [
        sum(((m[s] - m[s].mean()) ** 2).sum() for m, s in zip(margins.T, side.T, strict=True))
        / sum(side.sum(0) - 1)
        for side in (members, ~members)
    ]
    scores = np.empty(margins.shape)
    for model, x in np.ndindex(*margins.shape):
        others = np.arange(len(margins)) // 2 != model // 2
        logs = []
        for side, variance in zip((members, ~members), within, strict=True):
            values = margins[others & side[:, x], x]
            k, a = len(values), 2 + len(values) / 2
            scale = np.sqrt((2 * variance + k * values.var() / 2) / a * (1 + 1 / k))
            logs.append(stats.t.logpdf(margins[model, x], 2 * a, values.mean(), scale))
        scores[model, x] = logs[0] - logs[1]
    return scores, members


@pytest.mark.parametrize("unlearner", KINDS)
def test_the_auc_is_scikit_learns_of_fits_without_the_model_and_its_twin(unlearner):
    given = replayed(unlearner, models=8, audited=25)
    scores, members = by_loop(given)

    found = measure(given)

    assert found["auc"].value == pytest.approx(auc(scores[members], scores[~members]))
    assert found["auc"].n == 8 * 25


def test_an_attacker_who_knows_the_unlearner_finds_over_forgotten_images_too():
    found = {kind: measure(replayed(kind, models=16, audited=150))["auc"] for kind in KINDS}

    assert covers(found["retrained"])
    assert found["original"].low > 60
    assert found["over-forgotten"].low > 60


def test_the_interval_of_a_perfect_unlearner_covers_guessing_in_at_least_92_percent():
    found = [measure(replayed(seed=seed, models=8, audited=40))["auc"] for seed in range(200)]

    assert np.mean([covers(each) for each in found]) >= 0.92
    assert np.mean([each.value for each in found]) == pytest.approx(50, abs=0.6)


def test_equivalence_follows_from_many_scores_of_a_perfect_unlearner_alone():
    perfect = measure(replayed(models=16, audited=1500))
    original = measure(replayed("original", models=16, audited=1500))
    few = measure(replayed(models=4, audited=20))

    assert perfect["equivalence"].value < 0.05
    assert original["equivalence"].value > 0.99
    assert few["equivalence"].value is None
    assert few["equivalence"].note == "underpowered at n = 80"


def test_the_true_positive_rate_is_that_of_the_step_curve():
    given = replayed("original", models=8, audited=300)
    scores, members = by_loop(given)
    threshold = np.sort(scores[~members])[::-1][12]  # 1 % of 1,200 may be above it

    found = measure(given)["tpr@1%fpr"]

    assert found.value == pytest.approx(100 * np.mean(scores[members] > threshold))
    assert found.n == 1200
    few = measure(replayed(models=8, audited=100))["tpr@1%fpr"]
    assert (few.value, few.note) == (None, "not measurable at n = 400")


def test_the_summary_has_every_score_and_nearly_all_within_its_range():
    found = summarise(replayed("original", models=8, audited=200))

    outside = found.members[0] + found.members[-1] + found.nonmembers[0] + found.nonmembers[-1]
    assert (sum(found.members), sum(found.nonmembers)) == (800, 800)
    assert (found.low, found.high) == RANGE
    assert outside < 0.01 * 1600
