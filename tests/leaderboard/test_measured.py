"""What a row has of a metric: over replicates, or one value that all of them share."""

import dataclasses

import pytest
from pooled import DEFINITIONS, POOL, ft, measured, page_of, section, small_world
from worlds import row_of, world

from harness import Estimate
from harness.leaderboard.table import tables
from harness.records.lines import Measurement, Run

SHARED = {"retrain": {"auc": 50.0}, "near": {"auc": 52.3}, "original": {"auc": 68.0}}


def shared_world(**fields):
    found = [*small_world(), *DEFINITIONS]
    return [*found, *measured(found, "u-lira", SHARED, swing=(0.0,), **fields)]


def test_a_shared_value_has_its_own_interval_and_no_spread():
    found = row_of(tables(shared_world())[0], "near").metrics["u-lira.auc"]

    assert (found.value.mean, found.value.low, found.value.high) == pytest.approx(
        (52.3, 49.8, 54.8)
    )
    assert (found.value.sd, found.value.n) == (None, 1)
    assert found.difference.mean == pytest.approx(2.3)
    assert found.difference.sd is None


def test_a_shared_value_stands_with_its_interval_in_its_cell():
    measurements = section(page_of(shared_world()), "All measurements")

    assert "| 52.3 [49.8, 54.8] (+2.3) |" in measurements
    assert "| 50.0 [47.5, 52.5] |" in measurements


def test_of_shared_values_that_differ_the_newest_runs_counts():
    found = shared_world()
    (newest,) = [
        x for x in found if isinstance(x, Run) and (x.method, x.replicate.seed) == ("near", 3)
    ]
    found[found.index(newest)] = dataclasses.replace(
        newest, circumstances={**newest.circumstances, "finished": "2"}
    )
    other = {"auc": Estimate(60.0, 58.0, 61.0)}
    found = [x for x in found if not _is_of(x, newest)]
    found.append(Measurement(newest.run_id, "u-lira", 1, other, pool=POOL))

    value = row_of(tables(found)[0], "near").metrics["u-lira.auc"].value

    assert (value.mean, value.low, value.high) == (60.0, 58.0, 61.0)


def _is_of(line, run):
    return isinstance(line, Measurement) and (line.run_id, line.protocol) == (run.run_id, "u-lira")


def test_without_a_definition_a_metric_is_taken_over_replicates():
    found = [line for line in shared_world() if line not in DEFINITIONS]

    assert row_of(tables(found)[0], "near").metrics["u-lira.auc"].value.sd == pytest.approx(0)


def test_the_readings_are_the_values_of_each_replicate_with_what_was_measured():
    found = [*world({"m": 0}, n=2), *DEFINITIONS]
    found += ft(found, {"m": 52, "retrain": 50})

    readings = row_of(tables(found)[0], "m").metrics["rmia.ft-auc"].readings

    assert readings.values == {(0, 0): 51.5, (1, 1): 52.5}
    assert readings.differences == {(0, 0): 2, (1, 1): 2}
    assert readings.own == {(0, 0): 2.5, (1, 1): 2.5}
    assert readings.images == {(0, 0): 900, (1, 1): 900}


def test_an_interval_that_is_cut_at_the_end_of_the_range_is_as_wide_as_its_other_half():
    found = [*world({"m": 0}, n=1), *DEFINITIONS]
    (run,) = [line for line in found if isinstance(line, Run) and line.method == "m"]
    found.append(Measurement(run.run_id, "rmia", 1, {"ft-auc": Estimate(99.0, 96.0, 100.0)}))

    readings = row_of(tables(found)[0], "m").metrics["rmia.ft-auc"].readings

    assert readings.own == {(0, 0): 3.0}
