"""``--replace`` puts the store's runs in the place of the published ones, as far as it is asked."""

import dataclasses

import pytest
from machines import SCENARIO, references, rows

from harness import Recipe, UserError
from harness.leaderboard.joining import join
from harness.records.lines import Run, merge


def runs_of(joined, method=None):
    return [x for x in joined.lines if isinstance(x, Run) and method in (None, x.method)]


PUBLISHED = [*references(range(3)), *rows("m", range(3), 84), *rows("n", range(3), 90)]
AWAY = {"machine": "away", "at": "2"}


def test_a_method_is_replaced_on_request_whatever_number_source_or_machine():
    old, new = rows("m", range(3), 84), rows("m", [0], 70, source="new", **AWAY)
    store = [*references(range(3), forget=60, **AWAY), *old, *new]

    joined = join(PUBLISHED, store, ["m"])
    again = join(joined.lines, store)

    assert [(x.source, x.replicate.seed) for x in runs_of(joined, "m")] == [("new", 0)]
    assert len(runs_of(joined, "n")) == 3
    assert len(runs_of(joined, "retrain")) == 9 + 3
    assert runs_of(again) == runs_of(joined)  # the old source's runs do not come back


def test_references_that_no_run_needs_any_more_leave_with_the_last_run():
    store = [
        *references(range(3), forget=60, **AWAY),
        *rows("m", range(3), 70, **AWAY),
        *rows("n", range(3), 70, **AWAY),
    ]

    one, both = join(PUBLISHED, store, ["m"]), join(PUBLISHED, store, ["all"])

    assert {x.circumstances["hardware"] for x in runs_of(one, "retrain")} == {"home", "away"}
    assert both.lines == merge(store)


def defined(epochs):
    return {"scenario": dataclasses.replace(SCENARIO, recipe=Recipe(epochs, 0.1))}


def test_a_scenarios_definition_is_replaced_on_request():
    store = [*references([0], at="2", **defined(2)), *rows("m", [0], 70, at="2", **defined(2))]

    joined = join(PUBLISHED, store, ["s"])

    assert joined.lines == merge(store)
    assert join(PUBLISHED, store).lines == merge(PUBLISHED, store)
    assert join(joined.lines, [*PUBLISHED, *store]).lines == merge(store)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mm", "unknown method or scenario of this store: --replace 'mm'; did you mean 'm'"),
        ("retrain", "references come with the runs that name them"),
    ],
)
def test_a_name_that_cannot_be_replaced_is_told(name, message):
    with pytest.raises(UserError, match=message):
        join(PUBLISHED, PUBLISHED, [name])
