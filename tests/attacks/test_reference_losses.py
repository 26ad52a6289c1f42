import numpy as np
import pytest
from scipy.stats import percentileofscore
from sklearn.metrics import roc_auc_score

from harness.attacks.reference_losses import attack_p, attack_r


def made(references=6, samples=120, seed=0):
    rng = np.random.default_rng(seed)
    state = rng.permuted(np.tile([[0], [1]], (references // 2, samples)), axis=0)
    return rng.exponential(1, samples), rng.exponential(1, (references, samples)), state


class TestAttackR:
    def test_is_minus_the_interpolated_position_among_the_out_references(self):
        target, losses, state = made()

        found = attack_r(target, losses, state)

        for i, value in enumerate(found):
            ends = np.sort([0.0, *losses[state[:, i] == 0, i], 1000.0])
            assert value == pytest.approx(-np.interp(target[i], ends, np.linspace(0, 1, 5)))

    def test_counts_each_samples_own_number_of_out_references(self):
        _, losses, state = made(references=4, samples=3)
        state[:] = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [2, 1, 0]]

        found = attack_r([0.7, 0.7, 0.7], losses, state)

        expected = [
            -np.interp(0.7, np.sort([0, *losses[:m, i], 1000]), np.linspace(0, 1, m + 2))
            for i, m in enumerate((1, 2, 4))
        ]
        assert [*found] == pytest.approx(expected)

    @pytest.mark.parametrize(("loss", "expected"), [(0.0, 0.0), (1000.0, -1.0), (5000.0, -1.0)])
    def test_ends_where_the_padding_ends(self, loss, expected):
        assert attack_r([loss], [[1.0], [2.0]], [[0], [0]]) == [expected]

    def test_takes_a_loss_that_ties_with_references_for_the_last_of_them(self):
        ties = np.sort([0.0, 1, 1, 2, 1000])

        found = attack_r([1.0], [[1.0], [1.0], [2.0]], [[0], [0], [0]])

        assert found == [-np.interp(1.0, ties, np.linspace(0, 1, 5))] == [-0.5]

    def test_is_higher_where_the_target_was_trained(self):
        _, losses, state = made(samples=4000)
        member = np.arange(4000) < 2000
        target = np.random.default_rng(1).exponential(np.where(member, 0.5, 1.0))

        assert roc_auc_score(member, attack_r(target, losses, state)) > 0.6

    def test_counts_the_samples_that_all_references_were_trained_on(self):
        target, losses, state = made(samples=5)
        state[:, 1:3] = 1

        with pytest.raises(ValueError, match="2 of 5 samples have none"):
            attack_r(target, losses, state)

    def test_refuses_references_of_other_samples(self):
        target, losses, state = made()

        with pytest.raises(ValueError, match=r"must both be \(k, 119\); got \(6, 120\)"):
            attack_r(target[1:], losses, state)


class TestAttackP:
    def test_is_minus_scipys_strict_percentile_among_the_non_members(self):
        target, losses, _ = made()
        losses[0, :5] = target[:5]

        found = attack_p(target, losses[0])

        expected = [-percentileofscore(losses[0], t, kind="strict") / 100 for t in target]
        assert [*found] == pytest.approx(expected)

    def test_has_the_auc_of_the_loss(self):
        rng = np.random.default_rng(0)
        member = np.arange(3000) < 1500
        losses = rng.exponential(np.where(member, 0.6, 1.0))

        found = roc_auc_score(member, attack_p(losses, losses[~member]))

        assert found == pytest.approx(roc_auc_score(member, -losses), abs=1e-3)

    def test_needs_non_members(self):
        with pytest.raises(ValueError, match="nonmembers must have at least one loss"):
            attack_p([1.0], [])


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5])
def test_what_is_no_loss_is_refused(value):
    with pytest.raises(ValueError, match=r"target must be losses.*; 1 of 2 are not"):
        attack_p([0.5, value], [1.0])
