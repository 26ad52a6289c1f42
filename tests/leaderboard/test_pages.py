"""From lines to pages."""

import json
import random
from dataclasses import replace
from time import perf_counter

from worlds import cells, lines, row, world

from harness import Estimate, Metric, Replicate
from harness.leaderboard.pages import render, scenario_page
from harness.leaderboard.table import tables
from harness.records.lines import Definition, Measurement, Run


def test_rows_of_one_method_are_told_apart_on_its_page():
    found = lines("m", 0, [1, 1, 1, 1], config={"lr": 0.1})
    found += lines("m", 0, [2, 2, 2, 2], config={"lr": 0.2})

    page = render(found)["m.md"]

    assert "(lr=0.1) average gap" in page
    assert "(lr=0.2) average gap" in page


def test_text_of_any_kind_stays_in_its_cell():
    found = lines("m", 0, [1, 1, 1, 1], config={"mode": "a|b\nc"})
    found += lines("m", 0, [2, 2, 2, 2], config={"mode": "d"})

    page = scenario_page(tables(found)[0])

    assert "m (mode=a\\|b c)" in page
    assert page.count("mode=a\\|b c") == 4


def test_three_hundred_methods_and_as_many_rows_by_hand_take_seconds():
    found = world({f"m-{i:03}": i / 50 for i in range(300)})
    for i in range(300):
        found += row("m-000", 1, config={"lr": i, "same": 1}, chosen="by hand")

    start = perf_counter()
    pages = render(found)

    assert len(pages) == 302
    assert "of 300 |" in pages["m-299.md"]
    assert perf_counter() - start < 30  # two or three; cubic in the pairs it was minutes


def test_pages_do_not_depend_on_the_order_of_lines():
    found = world({"near": 0, "far": 8})
    shuffled = random.Random(1).sample(found, len(found))

    assert render(found) == render(shuffled)


def test_there_is_a_page_a_scenario_a_page_a_method_and_an_index():
    pages = render(world({"near": 0, "far": 8}))

    assert {*pages} == {"s.md", "near.md", "far.md", "README.md"}
    assert "| Task" in pages["far.md"]
    assert "| 2 (2–2) of 2 |" in pages["far.md"]
    assert "[s](s.md)" in pages["README.md"]
    assert "near" in pages["README.md"]


def test_a_metric_without_value_is_a_dash_with_its_reason():
    found = world({"m": 0}, n=3)
    run = next(line for line in found if isinstance(line, Run) and line.method == "m")
    tpr = {"tpr": Estimate(None, note="not measurable at n = 797")}

    page = scenario_page(tables([*found, Measurement(run.run_id, "other", 1, tpr)])[0])

    assert "`other.tpr`: not measurable at n = 797" in page


def test_a_class_page_has_the_affected_classs_accuracy_in_its_main_table():
    found = world({"m": 0}, n=3)
    whole = {"retain": Estimate(None, note="none"), "test": Estimate(40.0)}
    for run in [line for line in found if isinstance(line, Run)]:
        found.append(Measurement(run.run_id, "affected-class", 1, whole))

    with_class, without = (cells(render(each)["s.md"], "m") for each in (found, world({"m": 0})))

    assert with_class["Class test acc. (%)"] == "40.0 ± 0.0 (+0.0)"
    assert with_class.keys() - without.keys() == {"Class test acc. (%)"}  # it has no retained image


def crossed(found, pairs):
    """The lines with these replicates in place of the independent ones, seed by seed."""
    return [
        replace(line, replicate=Replicate(*pairs[line.replicate.seed]))
        if isinstance(line, Run)
        else line
        for line in found
    ]


def test_a_page_of_crossed_replicates_says_so_and_why_nothing_is_tested():
    pairs = [(i, j) for i in (1, 10, 100) for j in (1, 10, 100)]

    pages = render(crossed(world({"near": 0, "far": 8}, n=9), pairs))

    page = pages["s.md"]
    assert cells(page, "near")["Rank"] == "1 of 2"
    assert "9 replicates are 3 original models × 3 forget sets. Those that share" in page
    assert "no difference is tested with 9 replicates of 3 original models × 3 forget sets" in page
    assert "every replicate has retrained models of its own" in page
    assert "with seeds 1, 10, 100; forget seeds 1, 10, 100." in page
    assert "| 9 (3 × 3) |" in pages["README.md"]


def test_a_page_of_six_models_and_six_forget_sets_tests_with_the_error_of_both():
    pairs = [(i, j) for i in range(6) for j in range(6)]

    page = render(crossed(world({"near": 0, "far": 8}, n=36), pairs))["s.md"]

    assert cells(page, "far")["Rank"] == "2 (2–2) of 2"
    assert "with a standard error that allows for the models and forget sets that they" in page


def test_a_page_of_some_crossed_pairs_says_how_many_and_has_the_wider_intervals():
    pairs = [(i, i) for i in range(3)] + [(0, 1)]
    found = world({"near": 0, "far": 8}, n=4)

    page = render(crossed(found, pairs))["s.md"]

    assert "4 replicates are 4 of the 9 pairs of 3 original models × 3 forget sets" in page
    widths = [
        high - low
        for low, high in (
            json.loads(cells(p, "far")["95 % interval"]) for p in (page, render(found)["s.md"])
        )
    ]
    assert widths[0] > widths[1]


def test_a_page_says_what_each_metric_means_and_which_way_is_good():
    forget = Metric("forget", meaning="Accuracy | forget set.")
    auc = Metric("auc", unit="", goal="low", meaning="How well losses tell.")
    definitions = [
        Definition("accuracy", 1, (forget,)),
        Definition("loss-mia", 1, (auc,)),
        Definition("loss-mia", 2, ()),
    ]

    page = render([*world({"m": 0}, n=3), *definitions])["s.md"]

    section = page.partition("## Metrics")[2].partition("## Settings")[0]
    assert [line for line in section.splitlines() if line.startswith("| `")] == [
        r"| `accuracy.forget` | Accuracy \| forget set. | % | nearer to the retrained models |",
        "| `accuracy.retain` | – | – | – |",
        "| `accuracy.test` | – | – | – |",
        "| `loss-mia.auc` | How well losses tell. | – | lower |",
    ]
