"""Standard errors over replicates that share models and forget sets, against plain loops."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from harness.leaderboard.clusters import are_crossed, independent, mean_error

SHAPES = ((3, 3), (2, 4), (6, 6), (5, 2))


def crossing(models, forget_sets, seed=0):
    """All pairs, in a random order, and a value of each with effects of both."""
    rng = np.random.default_rng(seed)
    pairs = [(10 * i, 7 * j + 1) for i, j in product(range(models), range(forget_sets))]
    pairs = [pairs[i] for i in rng.permutation(len(pairs))]
    of_model, of_forget = rng.normal(0, 4, 100), rng.normal(0, 3, 100)
    return pairs, np.array([of_model[i] + of_forget[j] + rng.normal() for i, j in pairs])


def anova(pairs, values):
    """The mean squares of two-way random effects, and their degrees of freedom, by plain loops."""
    cells = dict(zip(pairs, values.tolist(), strict=True))
    models, forget_sets = sorted({i for i, _ in pairs}), sorted({j for _, j in pairs})
    mean = sum(cells.values()) / len(cells)
    model = {i: sum(cells[i, j] for j in forget_sets) / len(forget_sets) for i in models}
    forget = {j: sum(cells[i, j] for i in models) / len(models) for j in forget_sets}
    m, f = len(models), len(forget_sets)
    a = f * sum((model[i] - mean) ** 2 for i in models) / (m - 1)
    b = m * sum((forget[j] - mean) ** 2 for j in forget_sets) / (f - 1)
    e = sum((cells[i, j] - model[i] - forget[j] + mean) ** 2 for i, j in cells)
    return (a, b, e / ((m - 1) * (f - 1))), (m - 1, f - 1, (m - 1) * (f - 1))


class TestMeanError:
    def test_of_independent_replicates_is_the_plain_one(self):
        values = np.array([1.0, 4.0, 2.5, 3.5])

        found = mean_error(values, [(0, 0), (1, 1), (2, 2), (5, 3)])

        assert found.error == pytest.approx(stats.sem(values))
        assert found.degrees == 3

    @pytest.mark.parametrize("shape", SHAPES)
    def test_of_all_pairs_is_that_of_two_way_random_effects(self, shape):
        pairs, values = crossing(*shape, seed=2)
        (a, b, e), (of_a, of_b, of_e) = anova(pairs, values)

        found = mean_error(values, pairs)

        variance = a + b - e
        assert variance > max(a, b, e)
        assert found.error == pytest.approx(math.sqrt(variance / len(pairs)))
        satterthwaite = variance**2 / (a**2 / of_a + b**2 / of_b + e**2 / of_e)
        assert found.degrees == pytest.approx(satterthwaite)

    def test_is_at_least_what_each_source_alone_would_give(self):
        pairs, _ = crossing(3, 4)
        rng = np.random.default_rng(0)
        largest = set()
        for scale in (0.0, 0.6, 0.6, 0.6, 0.6, 0.6):
            values = np.array([scale * i / 10 for i, _ in pairs]) + rng.normal(size=12)
            squares, degrees = anova(pairs, values)
            if squares[0] + squares[1] - squares[2] >= max(squares):
                continue
            source = int(np.argmax(squares))

            found = mean_error(values, pairs)

            largest.add(source)
            assert found.error == pytest.approx(math.sqrt(squares[source] / 12))
            assert found.degrees == degrees[source]
        assert largest  # some sample had its largest mean square above their combination

    def test_is_not_zero_where_only_the_pairs_differ(self):
        pairs = list(product(range(3), range(3)))
        latin = np.array([float((i + j) % 3) for i, j in pairs])

        found = mean_error(latin, pairs)

        assert found.error == pytest.approx(math.sqrt(6 / 4 / 9))
        assert found.degrees == 4

    def test_of_equal_values_is_zero(self):
        pairs, _ = crossing(3, 3)

        found = mean_error(np.full(9, 0.5), pairs)

        assert found.error == 0
        assert np.isfinite(found.degrees)

    def test_of_some_pairs_adds_the_variances_of_both_sides_means(self):
        pairs, values = [(0, 0), (1, 1), (2, 2), (0, 1)], np.array([1.0, 2.0, 6.0, 4.0])

        found = mean_error(values, pairs)

        models, forget_sets = [2.5, 2.0, 6.0], [1.0, 3.0, 6.0]
        variance = (np.var(models, ddof=1) + np.var(forget_sets, ddof=1)) / 3
        assert found.error == pytest.approx(math.sqrt(variance))
        assert found.degrees == 2

    @pytest.mark.parametrize("shared", [[(0, 0), (1, 0), (2, 0)], [(3, 1), (3, 2)], [(0, 0)]])
    def test_is_unknown_for_a_single_model_or_forget_set(self, shared):
        assert mean_error(np.arange(len(shared), dtype=float), shared) is None

    def test_of_many_samples_is_that_of_each(self):
        pairs, _ = crossing(4, 3)
        many = np.random.default_rng(1).normal(size=(20, 12))

        for layout in (pairs, pairs[:-1], [(i, i) for i in range(12)]):
            together = mean_error(many[:, : len(layout)], layout)
            for row, error, degrees in zip(many, *together, strict=True):
                alone = mean_error(row[: len(layout)], layout)
                assert [error, degrees] == pytest.approx([*map(float, alone)])

    def test_gives_intervals_that_cover_the_mean_of_three_by_three(self):
        rng = np.random.default_rng(0)
        pairs = list(product(range(3), range(3)))
        table = rng.normal(0, 1.5, (4000, 3, 1)) + rng.normal(0, 1, (4000, 1, 3))
        values = (table + rng.normal(0, 0.5, (4000, 3, 3))).reshape(4000, 9)

        found = mean_error(values, pairs)

        half = stats.t.ppf(0.975, found.degrees) * found.error
        assert (np.abs(values.mean(axis=1)) <= half).mean() > 0.95
        plain = stats.t.ppf(0.975, 8) * stats.sem(values, axis=1)
        assert (np.abs(values.mean(axis=1)) <= plain).mean() < 0.8


def test_replicates_are_crossed_if_any_two_share_a_model_or_a_forget_set():
    assert not are_crossed([])
    assert not are_crossed([(0, 5), (1, 6)])
    assert are_crossed([(0, 5), (0, 6)])
    assert are_crossed([(0, 5), (1, 5)])


def test_independent_are_as_many_as_the_fewer_of_models_and_forget_sets():
    assert independent([(i, i) for i in range(8)]) == 8
    assert independent([(i, j) for i in range(3) for j in range(5)]) == 3
    assert independent([]) == 0
