"""U-LiRA against loops, RULI's kernels and closed forms."""

from functools import partial

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KernelDensity

from harness.attacks.ulira import FORGET, OUT, RETAIN, ruli, ulira


def split_states(models, samples, rng):
    """Models 2j and 2j + 1 share a split: a sample is FORGET in one and OUT in the other."""
    first = rng.random((models // 2, samples)) < 0.5
    state = np.empty((models, samples), dtype=np.int8)
    state[0::2], state[1::2] = np.where(first, FORGET, OUT), np.where(first, OUT, FORGET)
    return state


def third_states(models, samples, rng):
    """Every sample is OUT, RETAIN and FORGET in a third of the models, as in RULI."""
    return (np.argsort(rng.random((models, samples)), axis=0) % 3).astype(np.int8)


def replays(models=8, samples=30, *, seed=0, states=split_states, gap=0.7):
    rng = np.random.default_rng(seed)
    state = states(models, samples, rng)
    spread = rng.gamma(4, 0.25, samples)
    phi = rng.normal(size=state.shape) * spread + rng.normal(0, 2, samples)
    return phi + gap * (state == FORGET), state


def auc(scored):
    return roc_auc_score(scored.members, scored.scores)


def kept(state, model, sample, left_out):
    """The rows of FORGET and of OUT models that a pair's fit uses, by the rule in words."""
    rows = [[*np.flatnonzero(state[:, sample] == side)] for side in (FORGET, OUT)]
    own = 0 if state[model, sample] == FORGET else 1
    rank = rows[own].index(model)
    if left_out == "pair" and rows[1 - own]:
        rows[1 - own].pop(rank % len(rows[1 - own]))
    if left_out != "nothing":
        rows[own].remove(model)
    return rows


def by_loop(phi, state, left_out, fewest, density):
    """The scores of all pairs, in the order of rows, by refitting for each of them."""
    found, missing = [], 0
    for model, sample in np.argwhere(state != RETAIN):
        sides = kept(state, model, sample, left_out)
        if min(map(len, sides)) < fewest:
            missing += 1
            continue
        logs = [
            density(phi[rows, sample], phi[model, sample], side) for side, rows in enumerate(sides)
        ]
        found.append((logs[0] - logs[1], state[model, sample] == FORGET, model, sample))
    return [np.array(column) for column in zip(*found, strict=True)], missing


def pooled_of(phi, state):
    """The unbiased variance within samples of each side, over all models."""
    for side in (FORGET, OUT):
        groups = [phi[state[:, j] == side, j] for j in range(phi.shape[1])]
        squares = sum(((g - g.mean()) ** 2).sum() for g in groups if len(g))
        yield squares / sum(len(g) - 1 for g in groups if len(g))


def densities(phi, state):
    pooled = [*pooled_of(phi, state)]

    def student(values, x, side):
        shape = 2 + len(values) / 2
        rate = 2 * pooled[side] + len(values) * np.var(values) / 2
        scale = np.sqrt(rate / shape * (1 + 1 / len(values)))
        return stats.t.logpdf(x, 2 * shape, values.mean(), scale)

    return {
        "student": student,
        "example": lambda values, x, _: stats.norm.logpdf(x, values.mean(), values.std()),
        "pooled": lambda values, x, side: stats.norm.logpdf(
            x, values.mean(), np.sqrt(pooled[side])
        ),
    }


@pytest.mark.parametrize("states", [split_states, third_states])
@pytest.mark.parametrize("left_out", ["pair", "model", "nothing"])
@pytest.mark.parametrize("law", ["student", "example", "pooled"])
def test_scores_are_those_of_a_loop_that_refits(law, left_out, states):
    phi, state = replays(12, states=states)
    phi[:, 0], state[:, 0] = phi[:, 1], [FORGET] * 7 + [OUT] * 2 + [RETAIN] * 3  # unequal sides
    density = densities(phi, state)[law]
    fewest = 2 if law == "example" else 1
    (scores, members, models, samples), missing = by_loop(phi, state, left_out, fewest, density)

    found = ulira(phi, state, law=law, left_out=left_out)

    assert found.scores == pytest.approx(scores, rel=1e-9, abs=1e-9)
    assert np.array_equal(found.members, members)
    assert np.array_equal(found.models, models)
    assert np.array_equal(found.samples, samples)
    assert found.left_out == missing


@pytest.mark.parametrize("bandwidth", [1.0, 0.3])
@pytest.mark.parametrize("left_out", ["pair", "model", "nothing"])
def test_ruli_is_a_ratio_of_scikit_learns_kernel_densities(left_out, bandwidth):
    phi, state = replays(9, states=third_states)

    def kernels(values, x, _):
        fitted = KernelDensity(bandwidth=bandwidth).fit(values[:, None])
        return fitted.score_samples([[x]])[0]

    (ratio, *_), missing = by_loop(phi, state, left_out, 1, kernels)

    found = ruli(phi, state, left_out=left_out, bandwidth=bandwidth)

    assert found.scores == pytest.approx(1 / (1 + np.exp(-ratio)))
    assert found.left_out == missing


def test_ruli_stays_in_zero_to_one_far_from_every_kernel():
    phi, state = replays()
    phi[0] += 1e4

    found = ruli(phi, state)

    assert np.all((found.scores >= 0) & (found.scores <= 1))


@pytest.mark.parametrize("models", [4, 8, 16])
@pytest.mark.parametrize(
    "attack", [ulira, partial(ulira, law="pooled"), ruli], ids=["student", "pooled", "kernels"]
)
def test_a_perfect_unlearner_is_at_one_half_if_a_pair_is_left_out(attack, models):
    phi, state = replays(models, 4000, gap=0.0)

    assert auc(attack(phi, state)) == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize(("models", "expected"), [(4, 0.376), (8, 0.467), (16, 0.492)])
def test_a_perfect_unlearner_is_below_one_half_if_only_the_model_is_left_out(models, expected):
    """The fit of its own side has a model less, so that every sample looks like the other side."""
    rng = np.random.default_rng(0)
    state = split_states(models, 8000, rng)
    phi = rng.normal(size=state.shape)

    found = auc(ulira(phi, state, law="student", left_out="model"))

    assert found == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("side", "expected"), [(8, 0.632), (16, 0.588), (32, 0.564), (64, 0.545)])
def test_a_perfect_unlearner_looks_leaky_if_models_are_scored_by_their_own_fits(side, expected):
    rng = np.random.default_rng(1)
    state = split_states(2 * side, 2000, rng)
    phi = rng.normal(size=state.shape)

    in_sample = auc(ulira(phi, state, law="pooled", left_out="nothing"))
    left_out = auc(ulira(phi, state, law="pooled"))

    assert in_sample == pytest.approx(expected, abs=0.008)
    assert left_out == pytest.approx(0.5, abs=0.008)


@pytest.mark.parametrize(("residue", "gap"), [(0.5, 2.0), (1.0, 0.5), (0.25, 2.0)])
def test_many_models_reach_the_optimum(residue, gap):
    """A share ρ of a memorisation gap d is left: Φ(ρ d / √2) for one variance."""
    rng = np.random.default_rng(2)
    state = split_states(200, 800, rng)
    phi = rng.normal(size=state.shape) + rng.normal(0, 3, 800) + residue * gap * (state == FORGET)

    found = auc(ulira(phi, state, law="pooled"))

    assert found == pytest.approx(stats.norm.cdf(residue * gap / np.sqrt(2)), abs=0.01)


@pytest.mark.parametrize("attack", [ulira, ruli])
def test_over_forgetting_is_found_as_surely_as_forgetting_too_little(attack):
    phi, state = replays(16, 400, gap=-2.0)

    assert auc(attack(phi, state)) > 0.7


@pytest.mark.parametrize("attack", [ulira, ruli])
class TestInvariances:
    def test_a_shift_of_each_sample_changes_nothing(self, attack):
        phi, state = replays()
        shift = np.random.default_rng(1).normal(size=phi.shape[1])

        assert attack(phi + shift, state).scores == pytest.approx(attack(phi, state).scores)

    def test_the_order_of_the_samples_changes_nothing(self, attack):
        phi, state = replays()
        order = np.random.default_rng(1).permutation(phi.shape[1])

        found, permuted = attack(phi, state), attack(phi[:, order], state[:, order])

        back = np.lexsort((order[permuted.samples], permuted.models))
        assert permuted.scores[back] == pytest.approx(found.scores)

    def test_the_order_of_the_twins_changes_nothing(self, attack):
        phi, state = replays(8)
        order = np.array([2, 3, 0, 1, 6, 7, 4, 5])

        found, permuted = attack(phi, state), attack(phi[order], state[order])

        back = np.lexsort((permuted.samples, order[permuted.models]))
        assert permuted.scores[back] == pytest.approx(found.scores)

    def test_half_precision_is_the_same_numbers_in_double_precision(self, attack):
        phi, state = replays()
        half = phi.astype(np.float16)

        found = attack(half, state)

        assert found.scores.dtype == np.float64
        assert np.array_equal(found.scores, attack(half.astype(float), state).scores)

    def test_a_constant_margin_tells_nothing(self, attack):
        phi, state = replays()

        found = attack(np.full_like(phi, 0.1), state)

        assert np.all(found.scores == found.scores[0])

    def test_retained_samples_have_no_score(self, attack):
        phi, state = replays(12, states=third_states)

        found = attack(phi, state)

        assert np.all(state[found.models, found.samples] != RETAIN)
        assert len(found.scores) == np.count_nonzero(state != RETAIN)

    def test_samples_without_a_side_are_left_out_and_counted(self, attack):
        phi, state = replays(8, 30)
        state[:, 0], state[:, 1] = FORGET, OUT
        state[:, 2] = RETAIN

        found = attack(phi, state)

        assert found.left_out == 16
        assert set(found.samples) == {*range(3, 30)}

    def test_nothing_to_score_is_an_error(self, attack):
        phi, state = replays()

        with pytest.raises(ValueError, match="no pair can be scored: each of the 240 needs 1"):
            attack(phi, np.full_like(state, FORGET))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda phi, state: (phi[0], state[0]), r"phi must be \(K, A\)"),
            (lambda phi, state: (phi, state[:, 1:]), r"state must be \(8, 30\)"),
            (lambda phi, state: (phi, state + 1), "state must hold OUT 0, RETAIN 1 and FORGET 2"),
            (lambda phi, state: (np.where(phi > 1, np.inf, phi), state), "phi must be finite"),
        ],
    )
    def test_wrong_arguments_are_named(self, attack, change, message):
        with pytest.raises(ValueError, match=message):
            attack(*change(*replays()))

    def test_an_unknown_way_to_leave_out_is_named(self, attack):
        with pytest.raises(ValueError, match="'twin'"):
            attack(*replays(), left_out="twin")


def test_the_kernels_bandwidth_is_above_0():
    with pytest.raises(ValueError, match="bandwidth must be above 0; got 0"):
        ruli(*replays(), bandwidth=0)
