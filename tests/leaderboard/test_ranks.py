"""Ranks and their confidence sets, against a slow reference and closed forms."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.leaderboard.publish import published_lines
from harness.leaderboard.ranks import Rank, holm, rank_sets, significant_pairs, smallest_ratio
from harness.leaderboard.table import tables

RECORDS = Path(__file__).parents[2] / "leaderboards"
PGD = [4.86, 3.09, 3.07, 0.94, 1.38, 2.41, 2.12, 2.75, 1.57, 2.35]
SSD = [39.87, 10.05, 12.51, 11.17, 9.17, 42.93, 12.93, 14.32, 13.84, 12.41]
"""Gaps of two methods on the digits: 2.45 ± 1.11 and 17.9 ± 12.5."""


def rows(**columns):
    return {
        name: {(i, i): float(value) for i, value in enumerate(values)}
        for name, values in columns.items()
    }


def reference(gaps):
    """The rule, pair by pair: scipy's test, Holm step by step, and counting."""
    logs = {
        row: [math.log(max(gap, 0.01)) for gap in cells.values()] for row, cells in gaps.items()
    }
    pairs = []
    for first, second in itertools.combinations(gaps, 2):
        differences = [a - b for a, b in zip(logs[first], logs[second], strict=True)]
        if max(differences) - min(differences) > 1e-8:
            p = stats.ttest_rel(logs[first], logs[second]).pvalue
        else:
            p = 1.0 if abs(differences[0]) < 1e-8 else 0.0
        ahead = sum(differences) < 0
        pairs.append((p, (first, second) if ahead else (second, first)))
    found = set()
    for step, (p, pair) in enumerate(sorted(pairs)):
        if p * (len(pairs) - step) > 0.05:
            break
        found.add(pair)
    means = {row: sum(cells.values()) / len(cells) for row, cells in gaps.items()}
    sets = {
        row: Rank(
            1 + sum(mean < means[row] - 1e-8 for mean in means.values()),
            1 + sum(worse == row for _, worse in found),
            len(gaps) - sum(better == row for better, _ in found),
        )
        for row in gaps
    }
    return found, sets


def random_table(seed):
    """Unequal spreads and distances, equal rows, rows in a constant ratio, gaps below the floor."""
    rng = np.random.default_rng(seed)
    n, replicates = int(rng.integers(2, 15)), int(rng.integers(6, 13))
    shared = rng.normal(0, 0.3, replicates)
    table = [
        np.exp(shared + rng.normal(rng.uniform(0, 3), rng.uniform(0.05, 1), replicates))
        for _ in range(n)
    ]
    table += [table[0], 2 * table[0], table[-1] + 0.5]
    table += [rng.choice([0.0, 0.004, 0.01, 0.3], replicates), np.zeros(replicates)]
    return rows(**{f"row-{i}": values for i, values in enumerate(rng.permutation(table))})


class TestRankSets:
    @pytest.mark.parametrize("seed", range(40))
    def test_are_those_of_the_slow_reference(self, seed):
        gaps = random_table(seed)
        found, sets = reference(gaps)

        assert significant_pairs(gaps) == found
        assert rank_sets(gaps) == sets

    def test_of_more_pairs_than_a_block_are_those_of_the_slow_reference(self, monkeypatch):
        gaps = random_table(7)
        found, _ = reference(gaps)
        monkeypatch.setattr("harness.leaderboard.ranks.BLOCK", 3)

        assert significant_pairs(gaps) == found

    def test_reach_from_the_better_rows_to_the_worse_ones(self):
        wiggle = np.array([1.0, 1.3, 0.8, 1.1, 0.9, 1.0, 1.2])
        gaps = rows(
            worst=90 * wiggle, best=wiggle[::-1], middle=9 * wiggle[::-1], also_best=1.05 * wiggle
        )

        assert rank_sets(gaps) == {
            "worst": (4, 4, 4),
            "best": (1, 1, 2),
            "middle": (3, 3, 3),
            "also_best": (2, 1, 2),
        }

    def test_put_a_gap_that_varies_much_behind_one_that_is_small(self):
        assert significant_pairs(rows(pgd=PGD, ssd=SSD)) == {("pgd", "ssd")}
        assert stats.ttest_rel(PGD, SSD).pvalue > 0.05 / 406

    def test_compare_geometric_means_and_place_by_arithmetic_ones(self):
        wiggle = np.linspace(0.99, 1.01, 12)
        once_bad = np.r_[80.0, 2 * wiggle[1:]]
        gaps = rows(steady=6 * wiggle, once_bad=once_bad)

        assert once_bad.mean() > 8
        assert stats.gmean(once_bad) < 3
        assert rank_sets(gaps) == {"steady": (1, 2, 2), "once_bad": (2, 1, 1)}

    def test_take_a_gap_below_the_floor_for_the_floor(self):
        tiny = [1e-9, 1e-3, 0.0, 1e-6, 1e-5, 0.01]

        assert significant_pairs(rows(tiny=tiny, floor=[0.01] * 6)) == set()
        assert significant_pairs(rows(tiny=tiny, above=[0.011] * 6)) == {("tiny", "above")}

    def test_leave_equal_rows_together_and_tell_a_constant_ratio_apart(self):
        base = np.array([0.1, 0.2, 0.7, 3.3, 9.1, 0.3])

        ranks = rank_sets(rows(a=base, b=base * 3 / 3, c=base * 1.7))

        assert ranks == {"a": (1, 1, 2), "b": (1, 1, 2), "c": (3, 3, 3)}

    def test_take_rounding_for_no_difference(self):
        base = np.array([0.1 + 0.2, 1.0, 2.0, 0.7, 5.0, 6.0])
        noisy = np.array([0.3, 1.0 - 1e-15, 2.0 - 1e-15, 0.1 * 7, 5.0 + 1e-14, 6.0])

        assert rank_sets(rows(a=base, b=noisy)) == {"a": (1, 1, 2), "b": (1, 1, 2)}

    def test_give_the_order_alone_with_fewer_than_six_replicates(self):
        gaps = rows(far=[9.0, 9.1, 9.2, 9.3, 9.4], near=[1.0, 1.1, 1.2, 1.3, 1.4])

        assert rank_sets(gaps) == {"far": (2, None, None), "near": (1, None, None)}
        assert significant_pairs(gaps) == set()

    def test_do_not_depend_on_the_order_of_rows_or_replicates(self):
        gaps = random_table(3)
        turned = {row: dict(reversed(cells.items())) for row, cells in reversed(gaps.items())}

        assert rank_sets(turned) == rank_sets(gaps)

    def test_of_one_row_and_of_none_are_trivial(self):
        assert rank_sets(rows(only=[3.0] * 6)) == {"only": (1, 1, 1)}
        assert rank_sets({}) == {}

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1])
    def test_refuse_a_gap_that_is_none(self, bad):
        with pytest.raises(ValueError, match="row 'b': every gap must be finite and not negative"):
            rank_sets(rows(a=[1.0, 2.0, 3.0], b=[1.0, bad, 3.0]))

    def test_are_places_only_with_fewer_than_six_models_or_forget_sets(self):
        pairs = list(itertools.product(range(5), range(7)))
        gaps = {
            name: {at: mean + at[0] / 100 + at[1] / 100 for at in pairs}
            for name, mean in (("near", 1.0), ("far", 9.0))
        }

        assert rank_sets(gaps) == {"near": (1, None, None), "far": (2, None, None)}
        assert significant_pairs(gaps) == set()
        assert smallest_ratio(gaps) is None

    def test_of_six_by_six_allow_for_the_models_that_replicates_share(self):
        """Between models the difference varies, so that 36 replicates tell no more than six."""
        rng = np.random.default_rng(0)
        of_model = np.array([-0.4, -0.2, 0.1, 0.3, 1.2, 1.4])
        pairs = list(itertools.product(range(6), range(6)))
        logs = np.array([of_model[i] + rng.normal(0, 0.1) for i, _ in pairs])
        assert stats.ttest_1samp(logs, 0).pvalue < 0.01
        assert stats.ttest_1samp(of_model, 0).pvalue > 0.1
        gaps = {
            "a": dict(zip(pairs, np.exp(logs).tolist(), strict=True)),
            "b": dict.fromkeys(pairs, 1.0),
        }

        assert significant_pairs(gaps) == set()
        assert {rank[1:] for rank in rank_sets(gaps).values()} == {(1, 2)}

    def test_refuse_rows_of_different_replicates(self):
        with pytest.raises(
            ValueError, match=r"row 'b'.*same replicates, here \[\(0, 0\), \(1, 1\)\]; got \[\(1"
        ):
            rank_sets({"a": {(0, 0): 1.0, (1, 1): 2.0}, "b": {(1, 1): 1.0, (2, 2): 2.0}})
        with pytest.raises(ValueError, match="row 'a': a row needs at least one replicate"):
            rank_sets({"a": {}})

    def test_err_in_one_of_20_tables_at_most_where_all_rows_are_equal_but_for_their_spread(self):
        rng, repeats, spreads = np.random.default_rng(0), 400, np.geomspace(0.1, 1.2, 8)

        def table():
            shared = rng.normal(0, 0.3, 10)
            noise = {f"row-{sd:.2f}": rng.normal(0, sd, 10) for sd in spreads}
            return rows(**{name: np.exp(1 + shared + values) for name, values in noise.items()})

        wrong = sum(bool(significant_pairs(table())) for _ in range(repeats))

        assert 0.01 <= wrong / repeats <= 0.07

    def test_tell_ssd_from_the_best_in_the_committed_records(self):
        (table,) = (
            each
            for each in tables(published_lines(RECORDS))
            if each.scenario.name == "digits-random10"
        )

        better = {better for better, worse in significant_pairs(table.gaps) if worse == "ssd"}

        assert {"amun-pgd", "amun"} <= better


class TestHolm:
    def test_gives_the_hand_worked_values(self):
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_never_exceeds_1(self):
        assert holm([0.6, 0.9]).tolist() == [1, 1]

    def test_leaves_a_single_value_and_none_as_they_are(self):
        assert holm([0.2]).tolist() == [0.2]
        assert holm([]).tolist() == []


class TestSmallestRatio:
    @pytest.mark.parametrize(("stretch", "found"), [(0.999, set()), (1.001, {("a", "b")})])
    def test_is_where_two_rows_begin_to_differ(self, stretch, found):
        base = np.array([1.0, 2.0, 1.5, 3.0, 2.2, 1.1])
        other = np.array([1.3, 1.9, 1.4, 3.1, 2.0, 1.2])
        ratio = smallest_ratio(rows(a=base, b=other))
        other *= stats.gmean(base) / stats.gmean(other) * ratio**stretch

        assert significant_pairs(rows(a=base, b=other)) == found

    def test_is_that_of_the_median_pair_at_holms_first_step(self):
        logs = {"a": [0, 0, 0, 0, 0, 0], "b": [1, 2, 3, 4, 1, 2], "c": [0, 0, 3, 0, 1, 1]}
        spreads = [np.std(np.subtract(logs[i], logs[j]), ddof=1) for i, j in ("ab", "ac", "bc")]
        half = stats.t.ppf(1 - 0.05 / 3 / 2, df=5) * np.median(spreads) / math.sqrt(6)

        ratio = smallest_ratio(rows(**{name: np.exp(values) for name, values in logs.items()}))

        assert ratio == pytest.approx(math.exp(half))

    def test_is_unknown_where_nothing_is_tested(self):
        assert smallest_ratio({}) is None
        assert smallest_ratio(rows(a=[1.0] * 6)) is None
        assert smallest_ratio(rows(a=[1.0] * 5, b=[2.0] * 5)) is None
