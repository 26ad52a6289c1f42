"""The block of a page on attacks with reference models: its columns, its verdicts, its answer."""

import dataclasses

import pytest
from pooled import (
    DEFINITIONS,
    cells_in,
    ft,
    measured,
    of_mia,
    page_of,
    section,
    small_world,
)

from harness import Estimate, Metric
from harness.records.lines import Definition, Measurement

HEADING = "Membership inference"
AUCS = {"original": 62.0, "retrain": 50.0, "near": 50.5, "middle": 53.0, "far": 46.0}


def with_images(found, n):
    """The same lines; each accuracy was measured on n images."""
    return [
        dataclasses.replace(
            x, estimates={k: dataclasses.replace(e, n=n) for k, e in x.estimates.items()}
        )
        if isinstance(x, Measurement) and x.protocol == "accuracy"
        else x
        for x in found
    ]


def block(*protocols, n=8, images=438):
    """The block of a page with these protocols: each a function of the lines of a small world."""
    found = [*with_images(small_world(n), images), *DEFINITIONS]
    return section(page_of([*found, *(x for each in protocols for x in each(found))]), HEADING)


def rmia(**fields):
    return lambda found: ft(found, AUCS, **fields)


def lira(found):
    return ft(found, {**AUCS, "near": 54.0}, protocol="lira")


def u_lira(found):
    aucs = {method: {"auc": 50 + 2 * (auc - 50)} for method, auc in AUCS.items()}
    return measured(found, "u-lira", aucs, swing=(0.0,))


def klom(found):
    values = {method: {"forget": 0.25, "null": 0.14} for method in AUCS}
    return measured(found, "klom", values, swing=(0.0,), half=0.1)


def test_a_row_has_the_mean_the_interval_and_the_distance_from_the_retrained_models():
    cells = cells_in(block(rmia()), "near")

    assert cells["rmia.ft-auc (%)"] == "50.5 ± 0.5 (+0.5)"
    assert cells["95 % interval"] == "[50.1, 50.9]"  # 2.365 · 0.535 / √8


def test_the_rows_stand_in_the_order_of_the_page():
    lines = [line for line in block(rmia()).splitlines() if line.startswith("| ")]

    firsts = [line.split(" | ")[0].strip("| ") for line in lines]
    assert firsts == ["Method", "original", "retrain", "near", "middle", "far"]


def test_only_what_was_measured_has_a_column():
    few = cells_in(block(rmia()), "near")
    many = cells_in(block(rmia(), lira, u_lira, klom), "near")

    assert [*few] == ["Method", "rmia.ft-auc (%)", "95 % interval", "Verdict"]
    assert [*many] == [
        *[*few][:-1],
        "lira.ft-auc (%)",
        "u-lira.auc (%)",
        "klom.forget (nats; null)",
        "Verdict",
        "Verdict of u-lira.auc",
    ]
    assert many["u-lira.auc (%)"] == "51.0 [48.5, 53.5]"
    assert many["klom.forget (nats; null)"] == "0.25 [0.15, 0.35] (0.14 [0.04, 0.24])"


def test_the_other_numbers_of_the_headlines_protocol_stand_beside_it():
    values = {m: {"ft-auc": a, "fr-auc": 60, "ft-tpr@1%fpr": 2} for m, a in AUCS.items()}

    cells = cells_in(block(lambda found: measured(found, "rmia", values), lira), "near")

    assert [*cells][1:5] == [
        "rmia.ft-auc (%)",
        "95 % interval",
        "rmia.ft-tpr@1%fpr (%)",
        "rmia.fr-auc (%)",
    ]
    assert cells["rmia.fr-auc (%)"] == "60.0 ± 0.5 (+0.0)"


@pytest.mark.parametrize(
    ("method", "verdict"),
    [
        ("original", "not equivalent to guessing; under-forgetting"),
        ("retrain", "equivalent to guessing"),
        ("near", "equivalent to guessing; under-forgetting"),
        ("far", "not equivalent to guessing; over-forgetting"),
    ],
)
def test_each_row_has_a_verdict(method, verdict):
    constant = rmia(swing=(-0.1, 0.1))

    assert cells_in(block(constant), method)["Verdict"] == verdict


def test_an_underpowered_test_names_the_forgotten_images_of_all_replicates():
    text = block(rmia(swing=(-4, 4)))

    assert cells_in(text, "near")["Verdict"] == "underpowered at n = 3,504; as retrained"
    assert "`rmia.ft-auc`: none of 3 rows. The test is underpowered for 3." in text


def test_the_attacker_who_knows_the_method_has_a_verdict_of_her_own():
    text = block(rmia(), u_lira)

    verdicts = {m: cells_in(text, m)["Verdict of u-lira.auc"] for m in AUCS}
    assert verdicts == {
        "original": "better than guessing",
        "retrain": "guessing not excluded",
        "near": "guessing not excluded",
        "middle": "better than guessing",
        "far": "over-forgetting",
    }


def test_a_list_says_for_which_methods_each_attack_is_no_better_than_guessing():
    answer = block(rmia(), lira, u_lira).partition("at random guessing?**")[2]

    assert answer.strip().splitlines() == [
        "- Equivalent to guessing under `rmia.ft-auc`: `near` (1 of 3 rows).",
        "- Equivalent to guessing under `lira.ft-auc`: none of 3 rows.",
        "- The interval of `u-lira.auc` contains 50: `near` (1 of 3 rows).",
    ]


def test_a_knowing_attacker_alone_gives_a_block_too():
    cells = cells_in(block(u_lira), "near")

    assert [*cells] == ["Method", "u-lira.auc (%)", "Verdict of u-lira.auc"]


def test_the_attack_that_counts_in_the_gap_is_the_headline():
    found = of_mia([*small_world(), *DEFINITIONS], "lira.ft-auc")

    page = page_of([*found, *ft(found, AUCS), *lira(found)])

    assert [*cells_in(section(page, HEADING), "near")][1] == "lira.ft-auc (%)"
    assert "**Verdict**, on `lira.ft-auc`." in page


def test_an_attack_of_any_plugin_has_its_columns():
    attack = Definition("my-attack", 1, (Metric("ft-auc"),))

    text = block(lambda found: [attack, *ft(found, AUCS, protocol="my-attack")])

    assert cells_in(text, "far")["Verdict"].endswith("over-forgetting")
    assert "Equivalent to guessing under `my-attack.ft-auc`: `near`" in text


def test_a_row_without_a_value_has_dashes_and_no_verdict():
    def rmia_of_two(found):
        none = {"ft-auc": Estimate(None, note="not measurable at n = 9")}
        lines = ft(found, {"retrain": 50, "near": 50, "far": 50})
        runs = {x.run_id for x in lines if x.run_id.startswith("far")}
        return [dataclasses.replace(x, estimates=none) if x.run_id in runs else x for x in lines]

    text = block(rmia_of_two)

    for method in ("far", "middle"):
        assert {*cells_in(text, method).values()} == {method, "–"}
    assert "(1 of 1 row)" in text
