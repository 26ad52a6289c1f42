"""From lines to numbers: gaps, noise floor, ranks, newest source; and from numbers to pages."""

import dataclasses
import itertools
import random
import re
import statistics

import pytest

from harness import Cost, Estimate, RandomFraction, Recipe, Scenario
from harness.leaderboard import render, scenario_page
from harness.records import Measurement, Run, plain
from harness.standings import tables

SCENARIO = Scenario("s", "d", "b", Recipe(1, 0.1), RandomFraction(0.1))
NAMES = ("accuracy.forget", "accuracy.retain", "accuracy.test", "loss-mia.auc")
COUNTER = itertools.count()


def lines(method, seed, values, *, draw=0, source="x", config=None, at="1", status="finished"):
    """A run and its measurements."""
    run_id = f"{method}-{seed}-{draw}-{source}-{next(COUNTER)}"
    run = Run(
        run_id=run_id,
        scenario={**plain(SCENARIO), "data": "hash"},
        replicate={"seed": seed, "forget_seed": seed},
        method=method,
        config=config or {},
        draw=draw,
        source=source,
        status=status,
        circumstances={
            "device": "cpu",
            "hardware": "box",
            "threads": 1,
            "packages": {"torch": "2"},
            "commit": "c",
            "finished": at,
        },
        cost=Cost({"train": 10.0 if method == "retrain" else 1.0}, 100.0),
    )
    none = Estimate(None, note="diverged")
    estimates = (Estimate(value) if value is not None else none for value in values)
    estimate = dict(zip(NAMES, estimates, strict=True))
    accuracy = {n.partition(".")[2]: estimate[n] for n in NAMES[:3]}
    return [
        run,
        Measurement(run_id, "accuracy", 1, accuracy),
        Measurement(run_id, "loss-mia", 1, {"auc": estimate[NAMES[3]]}),
    ]


def world(methods, *, n=8, spread=0.5, original=(100, 100, 80, 70)):
    """Retrained models around (80, 100, 80, 50), an original, and methods at given offsets."""
    rng = random.Random(0)
    found = []
    for seed in range(n):
        for draw in range(3):
            values = [80 + rng.gauss(0, spread), 100, 80 + rng.gauss(0, spread), 50]
            found += lines("retrain", seed, values, draw=draw, source="")
        found += lines("original", seed, [v + rng.gauss(0, spread) for v in original], source="")
        for name, offset in methods.items():
            values = [80 + offset + rng.gauss(0, spread), 100, 80, 50]
            found += lines(name, seed, values)
    return found


def standing(table, label):
    return next(s for s in table.standings if s.label == label)


def test_the_gap_is_the_mean_distance_from_the_mean_of_the_retrained():
    found = []
    for draw, forget in enumerate((78, 80, 85)):
        found += lines("retrain", 0, [forget, 100, 80, 50], draw=draw)
    found += lines("m", 0, [91, 98, 80, 47])

    row = standing(tables(found)[0], "m")

    assert row.gap.mean == pytest.approx((10 + 2 + 0 + 3) / 4)
    assert row.differences["accuracy.forget"].mean == pytest.approx(10)
    assert row.differences["loss-mia.auc"].mean == pytest.approx(-3)
    assert row.seconds_share == pytest.approx(0.1)
    assert row.rank is None


def test_the_gap_is_taken_in_each_replicate_and_then_averaged():
    found = []
    for seed, offset in ((0, 4), (1, -4)):
        for draw in range(3):
            found += lines("retrain", seed, [80, 100, 80, 50], draw=draw)
        found += lines("m", seed, [80 + offset, 100, 80, 50])

    row = standing(tables(found)[0], "m")

    assert row.gap.mean == pytest.approx(1)
    assert row.differences["accuracy.forget"].mean == pytest.approx(0)


def test_the_noise_floor_is_what_a_further_retrained_model_would_show():
    draws = (78.0, 80.0, 85.0)
    found = [
        line
        for draw, forget in enumerate(draws)
        for line in lines("retrain", 0, [forget, 100, 80, 50], draw=draw)
    ]

    row = standing(tables(found)[0], "retrain")

    others = [abs(d - statistics.fmean({*draws} - {d})) for d in draws]
    assert row.gap.mean == pytest.approx(statistics.fmean(others) * (8 / 9) ** 0.5 / 4)


def test_ranks_count_the_significantly_better_and_leave_out_the_references():
    table = tables(world({"near": 0, "also-near": 0.05, "far": 8}))[0]

    ranks = {s.label: s.rank for s in table.standings}

    assert ranks == {"original": None, "retrain": None, "near": 1, "also-near": 1, "far": 3}
    assert [s.label for s in table.standings][:2] == ["original", "retrain"]
    assert table.discriminates
    assert 0 < table.detectable < 8


def test_a_scenario_in_which_the_original_looks_retrained_ranks_nothing():
    table = tables(world({"near": 0, "far": 8}, original=(80, 100, 80, 50)))[0]

    assert table.discriminates is False
    assert all(s.rank is None for s in table.standings)
    assert "does not discriminate" in scenario_page(table)
    assert "smallest difference" not in scenario_page(table)


def test_two_replicates_are_shown_and_not_ranked():
    table = tables(world({"near": 0, "far": 8}, n=2))[0]

    assert table.discriminates is None
    assert all(s.rank is None for s in table.standings)
    assert "Not ranked" in scenario_page(table)


def test_a_row_with_a_diverged_run_is_shown_and_not_ranked():
    found = world({"near": 0, "far": 8})
    found += lines("near", 99, [None] * 4, status="diverged")

    table = tables(found)[0]

    assert standing(table, "near").diverged == 1
    assert standing(table, "near").rank is None
    assert standing(table, "far").rank == 1
    assert standing(table, "near").gap is None
    assert re.search(r"\| near +\| diverged: 1 of 9 +\| – ", scenario_page(table))
    result = next(row for row in render(found)["near.md"].splitlines() if "s.md" in row)
    assert result.split("|")[3].strip() == "diverged: 1 of 9"


def test_a_row_stands_at_its_newest_source():
    found = lines("m", 0, [1, 1, 1, 1], source="old", at="2026-01-01")
    found += lines("m", 0, [2, 2, 2, 2], source="new", at="2026-01-02")

    table = tables(found)[0]

    assert standing(table, "m").metrics["accuracy.forget"].mean == 2
    assert table.left_out == 1


def test_settings_of_an_older_source_are_no_row_any_more():
    found = lines("m", 0, [1, 1, 1, 1], config={"epochs": 2}, source="old", at="2026-01-01")
    found += lines("m", 0, [2, 2, 2, 2], config={}, source="new", at="2026-01-02")

    table = tables(found)[0]

    assert [s.label for s in table.standings] == ["m"]
    assert table.left_out == 1


def test_equal_numbers_are_one_row_and_a_run_made_twice_counts_once():
    found = lines("m", 0, [1, 1, 1, 1], config={"lr": 1}, at="2026-01-01")
    found += lines("m", 0, [3, 3, 3, 3], config={"lr": 1.0}, at="2026-01-02")
    found += lines("m", 1, [5, 5, 5, 5], config={"lr": 1.0}, at="2026-01-02")

    table = tables(found)[0]

    assert [s.label for s in table.standings] == ["m"]
    assert standing(table, "m").metrics["accuracy.forget"].mean == 4
    assert table.left_out == 1


def test_rows_of_one_method_are_told_apart_on_its_page():
    found = lines("m", 0, [1, 1, 1, 1], config={"lr": 0.1})
    found += lines("m", 0, [2, 2, 2, 2], config={"lr": 0.2})

    page = render(found)["m.md"]

    assert "(lr=0.1) average gap" in page
    assert "(lr=0.2) average gap" in page


def test_a_table_holds_one_version_of_a_protocol_and_says_what_it_leaves_out():
    found = world({"m": 0}, n=3)
    first, second, *_ = [x for x in found if isinstance(x, Run) and x.method == "m"]
    later = Measurement(first.run_id, "loss-mia", 2, {"auc": Estimate(51.0)})
    kept = [x for x in found if not (isinstance(x, Measurement) and x.run_id == second.run_id)]

    table = tables([*found, later])[0]

    assert standing(table, "m").metrics["loss-mia.auc"].n == 1
    assert "loss-mia.auc" not in standing(table, "retrain").metrics
    assert table.outdated == ("loss-mia",)
    assert "an earlier version of `loss-mia`" in scenario_page(table)
    assert "an earlier version" not in scenario_page(tables(kept)[0])


def test_a_row_that_lacks_replicates_says_so_and_one_elsewhere_has_no_rank():
    found = world({"near": 0, "far": 8})
    for seed in range(5):
        found += lines("some", seed, [82 + seed % 2, 100, 80, 50])
    for seed in (100, 101, 102):
        for draw in range(3):
            found += lines("retrain", seed, [80, 100, 80, 50], draw=draw, source="")
        found += lines("elsewhere", seed, [40 + seed, 0, 0, 0])

    table = tables(found)[0]
    page = scenario_page(table)

    assert standing(table, "elsewhere").rank is None
    assert "of 3" in render(found)["near.md"]
    assert re.search(r"\| some +\|.*\| 5 of 11 +\|", page)


def test_an_attack_that_was_not_measured_is_named():
    found = [
        dataclasses.replace(x, scenario={**x.scenario, "mia": "no-such.thing"})
        if isinstance(x, Run)
        else x
        for x in world({"m": 0}, n=3)
    ]

    page = scenario_page(tables(found)[0])

    assert "Not ranked: `no-such.thing`, which counts in the gap, was not measured" in page
    assert "at least three replicates" not in page
    assert "smallest difference" not in page


def test_text_of_any_kind_stays_in_its_cell():
    found = lines("m", 0, [1, 1, 1, 1], config={"mode": "a|b\nc"})
    found += lines("m", 0, [2, 2, 2, 2], config={"mode": "d"})

    page = scenario_page(tables(found)[0])

    assert "m (mode=a\\|b c)" in page
    assert page.count("mode=a\\|b c") == 4


def test_two_configs_are_two_rows_named_by_what_differs():
    found = lines("m", 0, [1, 1, 1, 1], config={"lr": 0.1, "epochs": 2})
    found += lines("m", 0, [2, 2, 2, 2], config={"lr": 0.2, "epochs": 2})

    assert {s.label for s in tables(found)[0].standings} == {"m (lr=0.1)", "m (lr=0.2)"}


def test_runs_of_an_earlier_definition_of_the_scenario_are_left_out_and_counted():
    run, *measured = lines("m", 0, [1, 1, 1, 1], at="2026-01-01")
    old = dataclasses.replace(run, scenario={**run.scenario, "data": "another hash"})
    found = [old, *measured, *lines("m", 1, [2, 2, 2, 2], at="2026-01-02")]

    table = tables(found)[0]

    assert (table.left_out, standing(table, "m").replicates) == (1, 1)
    assert "Left out: 1 runs" in scenario_page(table)


def test_seconds_are_compared_on_one_kind_of_hardware_only():
    found = world({"m": 0}, n=3)
    run, *measured = lines("m", 7, [80, 100, 80, 50])
    elsewhere = {**run.circumstances, "hardware": "another box"}
    slow = dataclasses.replace(run, circumstances=elsewhere, cost=Cost({"train": 1e6}, 100.0))

    table = tables([*found, slow, *measured])[0]

    assert standing(table, "m").seconds.mean == 1.0
    assert "box (cpu" in table.hardware


def test_pages_do_not_depend_on_the_order_of_lines():
    found = world({"near": 0, "far": 8})
    shuffled = random.Random(1).sample(found, len(found))

    assert render(found) == render(shuffled)


def test_there_is_a_page_a_scenario_a_page_a_method_and_an_index():
    pages = render(world({"near": 0, "far": 8}))

    assert {*pages} == {"s.md", "near.md", "far.md", "README.md"}
    assert "| Task" in pages["far.md"]
    assert "2 of 2" in pages["far.md"]
    assert "[s](s.md)" in pages["README.md"]
    assert "near" in pages["README.md"]


def test_a_metric_without_value_is_a_dash_with_its_reason():
    found = world({"m": 0}, n=3)
    run = next(line for line in found if isinstance(line, Run) and line.method == "m")
    tpr = {"tpr": Estimate(None, note="not measurable at n = 797")}

    page = scenario_page(tables([*found, Measurement(run.run_id, "other", 1, tpr)])[0])

    assert "`other.tpr`: not measurable at n = 797" in page


def test_a_table_gives_the_gaps_that_its_ranks_rest_on():
    (table,) = tables(world({"near": 0, "far": 8}))

    assert {*table.gaps} == {"near", "far"}
    for label, gaps in table.gaps.items():
        assert len(gaps) == 8
        assert statistics.fmean(gaps.values()) == pytest.approx(standing(table, label).gap.mean)


def test_rows_stand_in_the_order_of_their_gaps_behind_the_references():
    steady = world({"near": 2, "far": 8}, n=4)
    wild = [lines("wild", s, (80 + 40 * (s == 0), 100, 80, 50 + 40 * (s == 0))) for s in range(4)]

    (table,) = tables([*steady, *itertools.chain(*wild)])

    shown = [each for each in table.standings if each.method not in ("original", "retrain")]
    assert [each.label for each in shown] == sorted(table.gaps, key=lambda m: mean_of(table, m))
    assert standing(table, "wild").rank == 1  # so much varies that nothing is significant
    assert shown[0].label != "wild"


def mean_of(table, label):
    return statistics.fmean(table.gaps[label].values())
