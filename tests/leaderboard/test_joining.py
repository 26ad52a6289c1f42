"""A store's lines join the published ones: newcomers come in, nothing of two machines is mixed."""

import dataclasses

from machines import measured, references, rows, run

from harness import Cost, Estimate
from harness.leaderboard.joining import join
from harness.records.lines import Measurement, Run, merge


def runs_of(joined, method=None):
    return [x for x in joined.lines if isinstance(x, Run) and method in (None, x.method)]


PUBLISHED = [*references(range(3)), *rows("m", range(3), 84), *rows("n", range(3), 90)]
AWAY = {"machine": "away", "at": "2"}


def test_a_newcomer_adds_its_row_and_its_references_and_changes_no_line():
    store = [*references(range(3), forget=60, **AWAY), *rows("guest", range(3), 70, **AWAY)]

    joined = join(PUBLISHED, store)

    assert joined == (merge(PUBLISHED, store), [])
    assert all(line in joined.lines for line in PUBLISHED)


def test_another_machines_runs_of_published_ones_are_left_out_with_their_references_and_said():
    store = [*references(range(3), forget=60, **AWAY), *rows("m", range(3), 70, **AWAY)]

    joined = join(PUBLISHED, store)

    assert joined.lines == merge(PUBLISHED)
    (text,) = joined.left_out
    assert text == (
        "left out: 3 runs of m in s: the records hold them from home (cpu, 1 thread(s) a process), "
        "with other numbers; these are from away (cpu, 1 thread(s) a process); `unlearn "
        "leaderboard --replace m` takes them instead"
    )


def test_references_come_in_for_the_new_runs_alone():
    store = [*references(range(3), forget=60, **AWAY), *rows("m", range(3), 70, **AWAY)]
    guest = rows("guest", [1], 70, **AWAY)

    joined = join(PUBLISHED, [*store, *guest])

    foreign = [x for x in runs_of(joined) if x.circumstances["hardware"] == "away"]
    assert sorted((x.method, x.replicate.seed) for x in foreign) == [
        ("guest", 1),
        ("original", 1),
        *[("retrain", 1)] * 3,
    ]
    assert len(joined.left_out) == 1


def test_new_replicates_of_a_published_row_come_in_from_another_machine():
    store = [*references([7], forget=60, **AWAY), *rows("m", [7], 70, **AWAY)]

    assert join(PUBLISHED, store).lines == merge(PUBLISHED, store)


def test_references_alone_of_another_machine_stay_out_and_are_said():
    joined = join(PUBLISHED, references(range(3), forget=60, **AWAY))

    assert joined.lines == merge(PUBLISHED)
    assert [text.partition(":")[0] for text in joined.left_out] == ["left out"] * 2


def test_the_same_outcome_on_the_same_hardware_is_replaced_by_the_newer_run():
    newer = [dataclasses.replace(x) for x in rows("m", range(3), 84, at="2")]

    forwards, backwards = join(PUBLISHED, newer), join([*PUBLISHED, *newer][12:], PUBLISHED)

    assert {x.circumstances["finished"] for x in runs_of(forwards, "m")} == {"2"}
    assert {x.circumstances["finished"] for x in runs_of(backwards, "m")} == {"2"}
    assert forwards.left_out == []


def test_the_same_outcome_on_other_hardware_changes_no_line():
    store = [
        dataclasses.replace(x, circumstances={**x.circumstances, "hardware": "twin"})
        if isinstance(x, Run)
        else x
        for x in [*references(range(3), at="2"), *rows("m", range(3), 84, at="2")]
    ]

    assert join(PUBLISHED, store) == (merge(PUBLISHED), [])


def test_other_numbers_beside_the_same_references_on_the_same_hardware_replace_the_older():
    newer = [
        line
        for run_ in (run("m", 0, at="2", digest="other"), run("n", 0, at="0", digest="other"))
        for line in measured(run_, 99)
    ]

    joined = join(PUBLISHED, newer)

    assert runs_of(joined, "m")[0].digest == "other"
    assert runs_of(joined, "n")[0].digest == "home-n-0-x"
    assert len(runs_of(joined, "m")) == len(runs_of(joined, "n")) == 3
    assert "the records hold later ones of this machine" in joined.left_out[0]
    numbers = [x for x in joined.lines if isinstance(x, Measurement)]
    assert len(numbers) == len([x for x in PUBLISHED if isinstance(x, Measurement)])


def test_a_difference_of_packages_is_named():
    store = [
        dataclasses.replace(x, circumstances={**x.circumstances, "packages": {"torch": "3"}})
        if isinstance(x, Run)
        else x
        for x in [*references(range(3), machine="new"), *rows("m", range(3), 84, machine="new")]
    ]
    store = [
        dataclasses.replace(x, circumstances={**x.circumstances, "hardware": "home"})
        if isinstance(x, Run)
        else x
        for x in store
    ]

    (text,) = join(PUBLISHED, store).left_out

    assert "made with torch 2 (here 3), with other numbers" in text


def test_a_new_protocol_measured_elsewhere_on_the_same_logits_comes_in():
    old = next(x for x in PUBLISHED if isinstance(x, Run) and x.method == "m")
    twin = dataclasses.replace(old, circumstances={**old.circumstances, "hardware": "twin"})
    new = Measurement(old.run_id, "new", 1, {"x": Estimate(1.0)}, old.outcome)
    same = Measurement(old.run_id, "loss-mia", 1, {"auc": Estimate(51.0)}, old.outcome)
    higher = Measurement(old.run_id, "accuracy", 2, {"forget": Estimate(1.0)}, old.outcome)

    joined = join(PUBLISHED, [twin, new, same, higher])

    assert old in joined.lines
    assert new in joined.lines
    assert same not in joined.lines
    assert higher in joined.lines


def failed(seed, **changes):
    none = {"digest": "", "original": "", "retrained": (), "cost": Cost({}, 0.0)}
    return run("m", seed, status="failed", reason="why", **none, **changes)


def test_a_failure_never_replaces_a_run_and_is_replaced_by_one():
    out = join(PUBLISHED, [failed(0, **AWAY)])
    back = join([*references(range(3)), failed(0)], [*references(range(3)), *rows("m", [0], 84)])

    assert out.lines == merge(PUBLISHED)
    assert "they failed here, but the records hold results" in out.left_out[0]
    assert [x.status for x in runs_of(back, "m")] == ["finished"]


def test_a_failure_of_a_new_run_comes_in():
    joined = join(PUBLISHED, [failed(9, **AWAY)])

    assert [x.reason for x in runs_of(joined, "m") if x.replicate.seed == 9] == ["why"]


def test_ten_old_and_one_new_source_both_come_in():
    old, new = rows("z", range(3), 84, source="old"), rows("z", [0], 84, source="new", at="2")

    assert join(PUBLISHED, [*old, *new]) == (merge(PUBLISHED, old, new), [])


def test_an_earlier_source_than_the_published_does_not_come_in():
    new = rows("m", [0], 84, source="new", at="2")

    joined = join([*references(range(3)), *new], PUBLISHED)

    assert {x.source for x in runs_of(joined, "m")} == {"new"}
    assert any("later source of the method" in text for text in joined.left_out)


def test_runs_whose_references_are_nowhere_are_said():
    joined = join(PUBLISHED, rows("guest", range(3), 70, **AWAY))

    (text,) = joined.left_out
    assert text == (
        "not shown: 3 runs of guest in s: the retrained models that they were measured against "
        "are neither in the records nor in the store"
    )


def test_joining_twice_changes_nothing():
    store = [*references(range(3), forget=60, **AWAY), *rows("guest", range(3), 70, **AWAY)]
    once = join(PUBLISHED, store).lines

    assert join(once, store).lines == once
    assert join(once, PUBLISHED).lines == once
