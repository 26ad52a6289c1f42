"""Of several pools of a protocol one counts, and a page says which."""

import random

from pooled import DEFINITIONS, POOL, ft, page_of, section, small_world

from harness.leaderboard.pools import pools_that_count
from harness.leaderboard.table import tables
from harness.records.lines import Measurement, Pool


def line(i, size, digest, protocol="rmia"):
    return Measurement(f"run-{i}", protocol, 1, {}, pool=Pool(size, digest) if size else None)


def test_the_largest_pool_counts_however_many_runs_another_has():
    lines = [line(0, 64, "b"), *(line(i, 16, "a") for i in range(1, 9))]

    assert pools_that_count(lines) == {"rmia": Pool(64, "b")}


def test_of_equal_size_the_pool_of_most_runs_counts_and_then_the_first_by_digest():
    lines = [line(0, 16, "a"), *(line(i, 16, "b") for i in (1, 2)), line(3, 16, "c", "lira")]
    lines.append(line(4, 16, "b", "lira"))
    random.Random(0).shuffle(lines)

    assert pools_that_count(lines) == {"rmia": Pool(16, "b"), "lira": Pool(16, "b")}


def test_a_protocol_without_a_pool_has_none():
    assert pools_that_count([line(0, 0, "")]) == {}


def test_a_page_shows_the_numbers_of_the_pool_that_counts_alone_and_names_it():
    found = [*small_world(), *DEFINITIONS]
    found += ft(found, {"retrain": 50, "near": 51})
    found += ft(found, {"far": 90}, pool=Pool(4, "b" * 20))

    table, page = tables(found)[0], page_of(found)

    rows = {row.label: row.metrics for row in table.rows}
    assert "rmia.ft-auc" in rows["near"]
    assert "rmia.ft-auc" not in rows["far"]
    assert table.pools == {"rmia": POOL}
    provenance = section(page, "Provenance")
    assert f"Pool of `rmia`: 16 models, `{POOL.digest}` (hash of their logits)." in provenance
    assert "Left out: measurements by `rmia` with another pool than the one above." in provenance


def test_a_measurement_without_the_pool_that_others_have_is_left_out():
    found = [*small_world(), *DEFINITIONS]
    found += ft(found, {"near": 51})
    found += ft(found, {"far": 90}, pool=None)

    table = tables(found)[0]

    assert table.with_other_pools == ("rmia",)


def test_a_page_without_pools_says_nothing_of_them():
    found = small_world()

    page = page_of([*found, *ft(found, {"near": 51, "retrain": 50}, pool=None)])

    assert "ool" not in section(page, "Provenance")
    assert "## Membership inference" not in page
    assert "## How the ranks change" not in page
