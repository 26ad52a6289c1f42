"""From lines to numbers: gaps, noise floor, ranks, newest source; and from numbers to pages."""

import dataclasses
import itertools
import random
import statistics
from time import perf_counter

import pytest

from harness import Cost, Estimate, RandomFraction, Recipe, Replicate, Scenario
from harness.leaderboard.pages import render, scenario_page
from harness.leaderboard.selection import Progress
from harness.leaderboard.table import tables
from harness.records.lines import Basis, Measurement, Run

SCENARIO = Scenario("s", "d", "b", Recipe(1, 0.1), RandomFraction(0.1))
NAMES = ("accuracy.forget", "accuracy.retain", "accuracy.test", "loss-mia.auc")
COUNTER = itertools.count()


def lines(method, seed, values, *, draw=0, source="x", at="1", passes=10.0, **fields):
    """A run and its measurements."""
    run_id = f"{method}-{seed}-{draw}-{source}-{next(COUNTER)}"
    run = Run(
        run_id=run_id,
        scenario=SCENARIO,
        basis=Basis("hash"),
        replicate=Replicate(seed, seed),
        method=method,
        draw=draw,
        source=source,
        circumstances={
            "device": "cpu",
            "hardware": "box",
            "threads": 1,
            "packages": {"torch": "2"},
            "commit": "c",
            "finished": at,
        },
        cost=Cost(*(({"train": 10.0}, 100.0) if method == "retrain" else ({"train": 1.0}, passes))),
        **{"config": {}, "status": "finished", **fields},
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


def row(name, offset, *, seeds=range(8), spread=0.5, **fields):
    """A method's runs, whose forget accuracy is off by about so much."""
    rng = random.Random(f"{name}{offset}")
    return [
        line
        for seed in seeds
        for line in lines(name, seed, [80 + offset + rng.gauss(0, spread), 100, 80, 50], **fields)
    ]


def references(seeds, *, spread=0.5):
    """Retrained models and originals of further replicates."""
    rng = random.Random(1)
    found = []
    for seed in seeds:
        for draw in range(3):
            values = [80 + rng.gauss(0, spread), 100, 80, 50]
            found += lines("retrain", seed, values, draw=draw, source="")
        found += lines("original", seed, [100, 100, 80, 70], source="")
    return found


def ranks_of(found):
    """Label → rank, of the rows that have one."""
    return {s.label: s.rank for s in tables(found)[0].rows if s.rank is not None}


def cells(page, label):
    """Title → cell of a row in a page's first table."""
    head, _, *body = [line for line in page.splitlines() if line.startswith("|")]
    titles, *found = [[c.strip() for c in line.strip("|").split(" | ")] for line in (head, *body)]
    return dict(zip(titles, next(cells for cells in found if cells[1] == label), strict=True))


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


def row_of(table, label):
    return next(s for s in table.rows if s.label == label)


def test_the_gap_is_the_mean_distance_from_the_mean_of_the_retrained():
    found = []
    for draw, forget in enumerate((78, 80, 85)):
        found += lines("retrain", 0, [forget, 100, 80, 50], draw=draw)
    found += lines("m", 0, [91, 98, 80, 47])

    row = row_of(tables(found)[0], "m")

    assert row.gap.mean == pytest.approx((10 + 2 + 0 + 3) / 4)
    assert row.metrics["accuracy.forget"].difference.mean == pytest.approx(10)
    assert row.metrics["loss-mia.auc"].difference.mean == pytest.approx(-3)
    assert row.spending.seconds_share == pytest.approx(0.1)
    assert row.rank is None


def test_the_gap_is_taken_in_each_replicate_and_then_averaged():
    found = []
    for seed, offset in ((0, 4), (1, -4)):
        for draw in range(3):
            found += lines("retrain", seed, [80, 100, 80, 50], draw=draw)
        found += lines("m", seed, [80 + offset, 100, 80, 50])

    row = row_of(tables(found)[0], "m")

    assert row.gap.mean == pytest.approx(1)
    assert row.metrics["accuracy.forget"].difference.mean == pytest.approx(0)


def test_the_noise_floor_is_what_a_further_retrained_model_would_show():
    draws = (78.0, 80.0, 85.0)
    found = [
        line
        for draw, forget in enumerate(draws)
        for line in lines("retrain", 0, [forget, 100, 80, 50], draw=draw)
    ]

    row = row_of(tables(found)[0], "retrain")

    others = [abs(d - statistics.fmean({*draws} - {d})) for d in draws]
    assert row.gap.mean == pytest.approx(statistics.fmean(others) * (8 / 9) ** 0.5 / 4)


def test_ranks_reach_from_the_better_to_the_worse_rows_and_leave_out_the_references():
    table = tables(world({"near": 0, "also-near": 0.05, "far": 8}))[0]

    ranks = {s.label: s.rank for s in table.rows}

    assert ranks == {
        "original": None,
        "retrain": None,
        "also-near": (1, 1, 2),
        "near": (2, 1, 2),
        "far": (3, 3, 3),
    }
    assert [s.label for s in table.rows][:2] == ["original", "retrain"]
    assert table.discriminates
    assert table.smallest_ratio > 1
    assert f"{table.smallest_ratio:.2f}" in scenario_page(table)


def test_a_scenario_in_which_the_original_looks_retrained_ranks_nothing():
    table = tables(world({"near": 0, "far": 8}, original=(80, 100, 80, 50)))[0]

    assert table.discriminates is False
    assert all(s.rank is None for s in table.rows)
    assert cells(scenario_page(table), "near")["Note"] == "this scenario does not discriminate"
    assert "Nothing is ranked: this scenario does not discriminate" in scenario_page(table)
    assert "smallest ratio" not in scenario_page(table)


def test_two_replicates_are_shown_and_not_ranked():
    table = tables(world({"near": 0, "far": 8}, n=2))[0]

    assert table.discriminates is None
    assert all(s.rank is None for s in table.rows)
    reason = "fewer than 3 replicates have original and retrained models"
    assert cells(scenario_page(table), "near")["Note"] == reason
    assert f"Nothing is ranked: {reason}" in scenario_page(table)


def test_references_alone_discriminate_and_rank_nothing():
    table = tables(world({}))[0]

    assert (table.discriminates, table.obstacle, table.ranked) == (True, "", 0)
    assert "Nothing is ranked: no row meets what a rank requires" in scenario_page(table)


def test_five_replicates_give_the_order_alone():
    table = tables(world({"near": 0, "far": 8}, n=5))[0]
    page = scenario_page(table)

    assert row_of(table, "far").rank == (2, None, None)
    assert cells(page, "far")["Rank"] == "2 of 2"
    assert "no difference is tested with 5 replicates" in page
    assert "smallest ratio" not in page
    assert "not tested" in render(world({"near": 0, "far": 8}, n=5))["README.md"]


def test_a_row_with_a_diverged_run_is_shown_and_not_ranked():
    found = world({"near": 0, "far": 8})
    found += lines("near", 99, [None] * 4, status="diverged")

    table = tables(found)[0]

    near, shown = row_of(table, "near"), cells(scenario_page(table), "near")
    assert near.outcomes.by_status == {"finished": 8, "diverged": 1}
    assert (near.rank, near.gap.n) == (None, 8)
    assert row_of(table, "far").rank == (1, 1, 1)
    assert (shown["Rank"], shown["Note"], shown["n"]) == ("–", "diverged: 1 of 9", "8 of 9")
    assert shown["Average gap"].endswith(" in 8 of 9")
    result = next(line for line in render(found)["near.md"].splitlines() if "s.md" in line)
    assert "diverged: 1 of 9" in result


def test_a_method_that_raised_in_its_bad_replicates_is_not_ranked_on_the_others():
    found = world({"near": 0, "far": 8})
    found += row("wild", 0.0, seeds=range(5))
    for seed in (5, 6, 7):
        why = "RuntimeError: no | memory" if seed < 7 else "killed by signal 9"
        run, *_ = lines("wild", seed, [None] * 4, status="failed", reason=why)
        found.append(dataclasses.replace(run, cost=Cost({}, 0.0)))

    table = tables(found)[0]

    wild, page = row_of(table, "wild"), scenario_page(table)
    assert (wild.rank, wild.gap.n) == (None, 5)
    assert wild.unranked == "failed: 3 of 8 (RuntimeError: no | memory; other reasons: 1)"
    assert "RuntimeError: no \\| memory" in page
    assert wild.spending.passes.mean == 10
    assert {*ranks_of(found)} == {"near", "far"}
    assert [s.label for s in table.rows][-1] == "wild"


def test_a_reason_of_any_kind_is_text_in_its_cell():
    found = world({"near": 0})
    run, *_ = lines("bad", 0, [None] * 4, status="failed", reason="not a <class 'x'>, *args | 2")

    page = scenario_page(tables([*found, run])[0])

    assert r"failed: 1 of 1 (not a \<class 'x'>, \*args \| 2)" in page


def test_a_long_reason_is_cut():
    found = world({"near": 0})
    run, *_ = lines("bad", 0, [None] * 4, status="failed", reason="x" * 500)

    (bad,) = (s for s in tables([*found, run])[0].rows if s.method == "bad")

    assert bad.unranked == f"failed: 1 of 1 ({'x' * 99}…)"


def test_a_method_of_which_every_run_failed_has_its_row_and_its_reason():
    found = world({"near": 0, "far": 8})
    for seed in range(8):
        run, *_ = lines("never", seed, [None] * 4, status="failed", reason="ValueError: no")
        found.append(dataclasses.replace(run, cost=Cost({}, 0.0)))

    shown = cells(scenario_page(tables(found)[0]), "never")

    assert (shown["Rank"], shown["Average gap"], shown["n"]) == ("–", "–", "0 of 8")
    assert shown["Note"] == "failed: 8 of 8 (ValueError: no)"
    assert shown["Passes"] == "–"


@pytest.mark.parametrize(
    "more",
    [
        [*references(range(100, 103)), *row("new", 1, seeds=range(100, 103))],
        [*references(range(100, 112)), *row("new", 1, seeds=range(100, 112))],
        row("new", 1, seeds=range(6)),
        [
            line
            for i in range(100)
            for line in row("near", i / 10, config={"lr": i}, chosen="by hand")
        ],
        row("far", 0, seeds=range(3), config={"lr": 1}, chosen="tuned, 20 trials"),
    ],
    ids=["elsewhere", "many elsewhere", "fewer", "by hand", "tuning begun"],
)
def test_whoever_else_comes_every_rank_and_set_stays_as_it_is(more):
    found = world({"near": 0, "middle": 2, "far": 8})
    before = ranks_of(found)

    after = tables([*found, *more])[0]

    assert {s.method: s.rank for s in after.rows if s.rank is not None} == before
    assert {s.method for s in after.rows if s.unranked} <= {"new", "near", "far"}
    assert any(s.unranked for s in after.rows)


def test_a_newcomer_on_the_pages_replicates_and_more_is_ranked_among_the_others():
    found = [*world({"near": 0, "far": 8}), *references(range(8, 12))]

    ranks = ranks_of([*found, *row("new", 4, seeds=range(12))])

    assert ranks == {"near": (1, 1, 1), "new": (2, 2, 2), "far": (3, 3, 3)}


def test_a_row_by_hand_is_shown_with_its_reason_behind_the_ranked_ones():
    found = world({"near": 0, "far": 8})
    found += row("near", 0.1, config={"lr": 0.5}, chosen="by hand")

    table = tables(found)[0]

    (by_hand,) = (s for s in table.rows if s.settings.chosen == "by hand")
    page = scenario_page(table)
    assert (by_hand.rank, by_hand.unranked) == (None, "set by hand")
    assert table.rows[-1] is by_hand
    assert cells(page, "near (lr=0.5)")["Note"] == "set by hand"
    assert "**Not ranked**: 1 row, with the reason in the note" in page
    assert row_of(table, "far").rank == (2, 2, 2)


def test_settings_by_hand_that_are_the_methods_own_leave_it_its_rank():
    found = world({"near": 0, "far": 8})
    found += row("near", 0, seeds=[7], chosen="by hand", at="2")

    table = tables(found)[0]

    assert row_of(table, "near").settings.chosen == ""
    assert row_of(table, "near").rank == (1, 1, 1)


def test_a_row_with_more_replicates_is_shown_as_it_is_ranked():
    found = [*world({"near": 0, "far": 8}), *references(range(8, 12))]
    found += row("more", 4)
    found += row("more", 40, seeds=range(8, 12))

    table = tables(found)[0]

    more = row_of(table, "more")
    assert more.rank == (2, 2, 2)
    assert more.gap.n == more.metrics["accuracy.forget"].value.n == 8
    assert more.gap.mean == pytest.approx(1, abs=0.2)
    assert cells(scenario_page(table), "more")["n"] == "8 of 12"


def test_a_scenario_discriminates_on_the_pages_own_replicates_whatever_others_bring():
    found = world({"near": 0, "far": 8})
    for seed in range(100, 120):
        for draw in range(3):
            found += lines("retrain", seed, [80, 100, 80, 50], draw=draw, source="")
        found += lines("original", seed, [0, 0, 0, 0], source="")

    assert tables(found)[0].discriminates is True


def test_a_row_beyond_the_budget_or_untuned_beside_tuned_ones_says_so_wherever_it_stands():
    found = [*world({"far": 8}), *row("costly", 0, passes=20.1)]
    found += row("tuned", 4, passes=20.0, chosen="tuned, 20 trials", config={"lr": 1})

    pages = render(found)
    notes = {name: cells(pages["s.md"], name)["Note"] for name in ("costly", "tuned", "far")}

    assert notes == {
        "costly": "defaults; beyond the budget: 20.1%",
        "tuned": "",
        "far": "defaults",
    }
    assert "n = 8; defaults; beyond the budget: 20.1% | 1 (1–1) of 3" in pages["costly.md"]
    assert "costly (defaults, beyond the budget: 20.1%)" in pages["README.md"]
    assert "takes more than 20 % of retraining's passes" in pages["s.md"]


def test_what_set_gives_on_the_command_line_is_set_by_hand(unlearn, work):
    unlearn("run", "finetune", "--scenario", "tiny", "--set", "finetune.lr=0.02")

    unlearn("leaderboard")

    page = (work / "leaderboards" / "tiny.md").read_text(encoding="utf-8")
    assert cells(page, "finetune")["Note"].startswith("set by hand")


def test_without_tuned_rows_defaults_are_no_news():
    page = scenario_page(tables(world({"near": 0, "far": 8}))[0])

    assert cells(page, "near")["Note"] == cells(page, "retrain")["Note"] == ""
    assert "beyond the budget" not in page.lower()


def test_a_row_stands_at_its_newest_source():
    found = lines("m", 0, [1, 1, 1, 1], source="old", at="2026-01-01")
    found += lines("m", 0, [2, 2, 2, 2], source="new", at="2026-01-02")

    table = tables(found)[0]

    assert row_of(table, "m").metrics["accuracy.forget"].value.mean == 2
    assert table.left_out == 1


def test_settings_of_an_older_source_are_no_row_any_more():
    found = lines("m", 0, [1, 1, 1, 1], config={"epochs": 2}, source="old", at="2026-01-01")
    found += lines("m", 0, [2, 2, 2, 2], config={}, source="new", at="2026-01-02")

    table = tables(found)[0]

    assert [s.label for s in table.rows] == ["m"]
    assert table.left_out == 1


def test_equal_numbers_are_one_row_and_a_run_made_twice_counts_once():
    found = lines("m", 0, [1, 1, 1, 1], config={"lr": 1}, at="2026-01-01")
    found += lines("m", 0, [3, 3, 3, 3], config={"lr": 1.0}, at="2026-01-02")
    found += lines("m", 1, [5, 5, 5, 5], config={"lr": 1.0}, at="2026-01-02")

    table = tables(found)[0]

    assert [s.label for s in table.rows] == ["m"]
    assert row_of(table, "m").metrics["accuracy.forget"].value.mean == 4
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

    assert row_of(table, "m").metrics["loss-mia.auc"].value.n == 1
    assert "loss-mia.auc" not in row_of(table, "retrain").metrics
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

    assert cells(page, "elsewhere")["Note"] == "has 0 of the page's 8 replicates"
    assert cells(page, "some")["Note"] == "has 5 of the page's 8 replicates"
    assert "1 (1–1) of 2" in render(found)["near.md"]
    assert "**Not ranked**: 2 rows" in page
    assert "replicates (seeds 0–7, those that the most methods have)" in page


def test_an_attack_that_was_not_measured_is_named():
    found = [
        dataclasses.replace(x, scenario=dataclasses.replace(x.scenario, mia="no-such.thing"))
        if isinstance(x, Run)
        else x
        for x in world({"m": 0}, n=3)
    ]

    page = scenario_page(tables(found)[0])

    reason = "`no-such.thing`, which counts in the gap, was not measured"
    assert f"Nothing is ranked: {reason}" in page
    assert cells(page, "m")["Note"] == "no gap"
    assert "smallest ratio" not in page


def test_text_of_any_kind_stays_in_its_cell():
    found = lines("m", 0, [1, 1, 1, 1], config={"mode": "a|b\nc"})
    found += lines("m", 0, [2, 2, 2, 2], config={"mode": "d"})

    page = scenario_page(tables(found)[0])

    assert "m (mode=a\\|b c)" in page
    assert page.count("mode=a\\|b c") == 4


def test_a_setting_that_only_some_rows_have_names_them():
    found = lines("m", 0, [1, 1, 1, 1], config={"lr": 1})
    found += lines("m", 0, [2, 2, 2, 2], config={"lr": 1.0, "new": None})

    assert {s.label for s in tables(found)[0].rows} == {"m", "m (new=None)"}


def test_two_configs_are_two_rows_named_by_what_differs():
    found = lines("m", 0, [1, 1, 1, 1], config={"lr": 0.1, "epochs": 2})
    found += lines("m", 0, [2, 2, 2, 2], config={"lr": 0.2, "epochs": 2})

    assert {s.label for s in tables(found)[0].rows} == {"m (lr=0.1)", "m (lr=0.2)"}


def test_runs_of_an_earlier_definition_of_the_scenario_are_left_out_and_counted():
    run, *measured = lines("m", 0, [1, 1, 1, 1], at="2026-01-01")
    old = dataclasses.replace(run, basis=Basis("another hash"))
    found = [old, *measured, *lines("m", 1, [2, 2, 2, 2], at="2026-01-02")]

    table = tables(found)[0]

    assert (table.left_out, row_of(table, "m").outcomes.replicates) == (1, 1)
    assert "Left out: 1 run in all, of another definition" in scenario_page(table)


def test_seconds_are_compared_on_one_kind_of_hardware_only():
    found = world({"m": 0}, n=3)
    run, *measured = lines("m", 7, [80, 100, 80, 50])
    elsewhere = {**run.circumstances, "hardware": "another box"}
    slow = dataclasses.replace(run, circumstances=elsewhere, cost=Cost({"train": 1e6}, 100.0))

    table = tables([*found, slow, *measured])[0]

    assert row_of(table, "m").spending.seconds.mean == 1.0
    assert "box (cpu" in table.hardware


def test_runs_that_were_not_isolated_are_counted():
    found = world({"near": 0}, n=3)
    run, *measured = lines("m", 0, [1, 1, 1, 1])
    shared = dataclasses.replace(run, circumstances={**run.circumstances, "isolated": False})

    page = scenario_page(tables([*found, shared, *measured])[0])

    assert "Not isolated: 1 run of 16, made in the command's own process" in page
    assert "Not isolated" not in scenario_page(tables(found)[0])


def test_rows_of_an_earlier_source_and_of_other_machines_are_marked_and_explained():
    table = tables(world({"near": 0, "far": 8}))[0]
    changed = {"near": {"newer_source": Progress(1, 8)}}
    changed["far"] = {"elsewhere": "another box (cpu)"}
    marked = [dataclasses.replace(s, **changed.get(s.label, {})) for s in table.rows]

    page = scenario_page(dataclasses.replace(table, rows=tuple(marked)))

    note = "of an earlier source: the newest has 1 of its 8 replicates"
    assert cells(page, "near")["Note"] == note
    assert cells(page, "far")["Note"] == "own references on another box (cpu)"
    assert "*Of an earlier source*: the method has changed since" in page
    assert "*Own references*: the row was judged against" in page


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


def test_a_table_gives_the_gaps_that_its_ranks_rest_on():
    (table,) = tables(world({"near": 0, "far": 8}))

    assert {*table.gaps} == {"near", "far"}
    for label, gaps in table.gaps.items():
        assert len(gaps) == 8
        assert statistics.fmean(gaps.values()) == pytest.approx(row_of(table, label).gap.mean)


def test_rows_stand_in_the_order_of_their_gaps_behind_the_references():
    steady = world({"near": 2, "far": 8}, n=4)
    wild = [lines("wild", s, (80 + 40 * (s == 0), 100, 80, 50 + 40 * (s == 0))) for s in range(4)]

    (table,) = tables([*steady, *itertools.chain(*wild)])

    shown = [each for each in table.rows if each.method not in ("original", "retrain")]
    assert [each.label for each in shown] == sorted(table.gaps, key=lambda m: mean_of(table, m))
    assert [each.rank.place for each in shown] == [1, 2, 3]
    assert shown[0].label != "wild"


def mean_of(table, label):
    return statistics.fmean(table.gaps[label].values())
