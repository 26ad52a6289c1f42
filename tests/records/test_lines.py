"""Lines of records: identities, outcomes and merging."""

import dataclasses
import json
import math
from pathlib import Path

import machines
import pytest
from example_lines import DEFINITION, measurement, run
from printed import published

from harness import (
    ClassFirst,
    ClassFraction,
    GivenRows,
    Metric,
    NumpyDraw,
    RandomFraction,
    Recipe,
    Replicate,
    WholeClass,
)
from harness.records.json_lines import read_lines, write_line
from harness.records.lines import Basis, Pool, Run, canonical, identity, merge, problem_key
from harness.runs.keys import PlannedRun
from harness.specs.scenario import REFERENCES
from harness.specs.score_summary import BINS, FPRS, ScoreSummary
from harness.version import CODE

COMMITTED = sorted((Path(__file__).parents[2] / "leaderboards" / "records").glob("*.jsonl"))
RULES = [
    RandomFraction(0.1),
    WholeClass(3),
    ClassFraction(3, 0.5),
    ClassFirst(3, 0.5),
    GivenRows((1, 5)),
    NumpyDraw(0.1),
]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_reference_runs_keep_their_run_ids(path):
    runs = [line for line in read_lines(path.read_text("utf-8"), "").lines if isinstance(line, Run)]

    names = {}
    for line in runs:
        # A method's run_id also covers its config class, which no line contains.
        if line.method in REFERENCES and line.basis.code == CODE:
            run = PlannedRun(
                scenario=line.scenario,
                replicate=line.replicate,
                method=line.method,
                draw=line.draw,
                source=line.source,
                fingerprint=line.basis.data,
                build=line.basis.build,
            )
            names[line.run_id] = run.record.key

    assert names
    assert all(found == asked for asked, found in names.items())


def test_an_identity_does_not_depend_on_order_or_container():
    one = identity({"a": (1, 2), "b": Replicate(1, 2)})
    two = identity({"b": Replicate(1, 2), "a": [1, 2]})

    assert one == two
    assert len(one) == 20


def test_different_values_and_classes_have_different_identities():
    ids = [identity(rule) for rule in RULES] + [identity(x) for x in (1, 1.5, "1", None, True)]

    assert len({*ids}) == len(ids)


def test_canonical_json_is_sorted_and_compact():
    found = identity({"recipe": Recipe(20, 0.1), "forget": RandomFraction(0.1)})

    assert found == identity({"forget": RandomFraction(0.1), "recipe": Recipe(20, 0.1)})
    assert canonical({"b": 0.1, "a": math.nan}) == '{"a":"nan","b":0.1}'


def test_a_value_without_an_exact_json_form_is_rejected():
    with pytest.raises(TypeError, match="has no JSON form"):
        canonical({"what": object()})


@pytest.mark.parametrize(
    "change", [{"digest": "e"}, {"original": "e"}, {"retrained": ("1", "e")}, {"retrained": ("1",)}]
)
def test_an_outcome_depends_on_every_digest_and_on_nothing_else(change):
    line = run(digest="d", original="o", retrained=("1", "2"))

    assert len(line.outcome) == 20
    assert dataclasses.replace(line, run_id="other", status="diverged").outcome == line.outcome
    assert dataclasses.replace(line, **change).outcome != line.outcome


def test_the_higher_version_of_a_protocol_wins_whatever_its_source():
    old, new = measurement(value=1.0, version=1), measurement(value=2.0, version=2)

    assert merge([new], [old]) == merge([old], [new]) == [new]


def test_the_later_source_wins_and_there_are_no_duplicates():
    old, new = run(status="finished"), run(status="diverged")

    merged = merge([old, measurement(value=1.0)], [new, measurement(value=2.0, version=2)])

    assert merged == sorted(merged, key=lambda line: isinstance(line, Run))
    assert [line for line in merged if isinstance(line, Run)] == [new]
    assert len(merged) == 2


def test_the_order_of_lines_does_not_depend_on_the_order_of_arrival():
    lines = [run("c", 2), run("a", 10), run("b", 1, "z"), measurement("a"), measurement("b")]

    assert merge(lines) == merge(lines[::-1])


def test_runs_with_one_id_from_two_machines_are_both_kept_with_their_measurements():
    here, there = run(digest="h", original="o"), run(digest="t", original="p")
    numbers = [
        dataclasses.replace(measurement(value=v), outcome=line.outcome)
        for v, line in ((1.0, here), (2.0, there))
    ]

    merged = merge([here, numbers[0]], [there, numbers[1]])

    assert len(merged) == 4
    assert all(line in merged for line in (here, there, *numbers))


@pytest.mark.parametrize("status", ["finished", "diverged", "changed architecture"])
@pytest.mark.parametrize("digest", ["", "d"])
def test_a_failure_loses_to_any_other_status_of_its_run(status, digest):
    failed, made = run(status="failed", reason="no luck"), run(status=status, digest=digest)

    assert merge([failed], [made]) == merge([made], [failed]) == [made]
    assert merge([failed], []) == [failed]


def test_the_later_of_two_texts_of_one_published_table_wins():
    older = published(numbers=published().numbers[:6], methods={})

    assert merge([older], [published()]) == [published()]
    assert merge([older], [published(table="T2")]) == [older, published(table="T2")]


def test_the_later_of_two_definitions_of_one_version_wins():
    older = dataclasses.replace(DEFINITION, metrics=(Metric("auc"),))

    assert merge([older], [DEFINITION]) == [DEFINITION]


@pytest.mark.parametrize(
    "other",
    [
        {"scenario": dataclasses.replace(machines.SCENARIO, mia="entropy-mia.auc", replicates=99)},
        {"basis": Basis("hash", class_name="cat")},
    ],
    ids=["what only a page needs", "the name of the class"],
)
def test_runs_of_one_problem_share_a_table(other):
    assert problem_key(machines.run("m", 0, **other)) == problem_key(machines.run("n", 1))


@pytest.mark.parametrize(
    "other",
    [
        {"scenario": dataclasses.replace(machines.SCENARIO, forget=RandomFraction(0.2))},
        {"basis": Basis("other")},
        {"basis": Basis("hash", build="other")},
        {"basis": Basis("hash", code=1)},
    ],
    ids=["rule", "data", "backbone", "harness"],
)
def test_runs_of_different_problems_share_no_table(other):
    assert problem_key(machines.run("m", 0, **other)) != problem_key(machines.run("m", 0))


def pooled(size):
    counts = tuple(range(BINS))
    scores = ScoreSummary(FPRS, -1.0, 1.0, counts, counts)
    return dataclasses.replace(measurement(), pool=Pool(size, "d"), scores=scores)


def test_a_measurement_with_pool_and_scores_is_read_as_it_was_written():
    (line,) = read_lines(write_line(pooled(16)), "").lines

    assert line == pooled(16)
    assert not {"pool", "scores"} & {*json.loads(write_line(measurement()))}


@pytest.mark.parametrize("part", ["pool", "scores"])
def test_a_measurement_whose_pool_or_scores_have_an_unknown_field_is_of_a_newer_version(part):
    fields = json.loads(write_line(pooled(16)))
    fields[part]["later"] = 1

    assert read_lines(json.dumps(fields), "").newer == [json.dumps(fields)]


def test_the_measurement_with_the_larger_pool_wins_whatever_its_source():
    small, large = pooled(4), pooled(16)

    assert merge([large], [small]) == merge([small], [large]) == [large]
    assert merge([measurement()], [small]) == merge([small], [measurement()]) == [small]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_lines_are_written_as_they_were_read(path):
    texts = path.read_text("utf-8").splitlines()

    assert [write_line(line) for line in read_lines("\n".join(texts), "").lines] == texts
