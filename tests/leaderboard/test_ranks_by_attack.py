"""How the order of a page changes with the attack in its gap, against hand-made gaps and scipy."""

import numpy as np
import pytest
from pooled import DEFINITIONS, cells_in, ft, measured, of_mia, page_of, section, small_world
from scipy import stats
from worlds import row_of

from harness.leaderboard.ranks_by_attack import kendall
from harness.leaderboard.table import tables

HEADING = "How the ranks change with the MIA"
BACKWARDS = {"original": 62, "retrain": 50, "near": 80, "middle": 60, "far": 50}


def page_world(aucs=BACKWARDS, **fields):
    found = [*small_world(), *DEFINITIONS]
    return [*found, *ft(found, aucs, **fields)]


def test_each_attack_has_a_column_with_the_gap_and_the_place_of_every_ranked_row():
    found = page_world()
    row = row_of(tables(found)[0], "far")

    cells = cells_in(section(page_of(found), HEADING), "far")

    parts = [abs(row.metrics[f"accuracy.{name}"].difference.mean) for name in ("forget", "retain")]
    assert [*cells] == ["Method", "loss-mia.auc", "rmia.ft-auc"]
    assert cells["loss-mia.auc"] == f"{row.gap.mean:.2f} (3)"
    shown, place = cells["rmia.ft-auc"].split()
    assert float(shown) == pytest.approx(sum(parts) / 4, abs=0.1)  # but for the test accuracy's
    assert place == "(1)"


def test_the_gap_with_another_attack_is_the_one_of_a_page_that_has_it():
    found = page_world()

    shown = cells_in(section(page_of(found), HEADING), "middle")["rmia.ft-auc"]

    gap = row_of(tables(of_mia(found, "rmia.ft-auc"))[0], "middle").gap.mean
    assert shown == f"{gap:.2f} (2)"


def test_the_agreement_of_the_orders_is_stated():
    text = section(page_of(page_world()), HEADING)
    agreeing = section(page_of(page_world({**BACKWARDS, "near": 50, "far": 80})), HEADING)

    assert "with `loss-mia.auc`, and the others is -1.00 with `rmia.ft-auc`;" in text
    assert "is 1.00 with `rmia.ft-auc`;" in agreeing


def test_all_attacks_of_the_scenarios_own_protocol_are_compared_but_no_shared_value():
    found = of_mia([*small_world(), *DEFINITIONS], "rmia.fr-auc")
    values = {m: {"ft-auc": a, "fr-auc": a, "ft-tpr@1%fpr": a} for m, a in BACKWARDS.items()}
    shared = {m: {"auc": a} for m, a in BACKWARDS.items()}
    found += [*measured(found, "rmia", values), *measured(found, "u-lira", shared)]

    cells = cells_in(section(page_of(found), HEADING), "near")

    assert [*cells][1:] == ["rmia.fr-auc", "rmia.ft-auc", "rmia.ft-tpr@1%fpr", "loss-mia.auc"]


def test_an_attack_that_a_ranked_row_lacks_is_left_out():
    without_far = {name: auc for name, auc in BACKWARDS.items() if name != "far"}

    assert section(page_of(page_world(without_far)), HEADING) == ""


def test_an_uncertain_attack_is_marked():
    text = section(page_of(of_mia(page_world(swing=(-5, 5)), "rmia.ft-auc")), HEADING)

    assert [*cells_in(text, "near")] == ["Method", "loss-mia.auc", "rmia.ft-auc ‡"]
    assert "‡ is too uncertain to count on this page" in text
    assert "‡" not in section(page_of(page_world()), HEADING)


class TestKendall:
    def test_is_scipys_tau_b_with_ties_or_without(self):
        rng = np.random.default_rng(0)
        for _ in range(50):
            first, second = rng.integers(0, 6, (2, 9)).tolist()

            assert kendall(first, second) == pytest.approx(stats.kendalltau(first, second)[0])

    def test_is_undefined_where_one_ranking_ties_all(self):
        assert kendall([1, 1, 1], [1, 2, 3]) is None
        assert kendall([1], [2]) is None
