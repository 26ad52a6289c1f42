"""Lines: exact both ways, the same name on every machine, a fault told with its place."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from harness import (
    Augmentation,
    ClassFraction,
    Cost,
    Estimate,
    GivenRows,
    Metric,
    RandomFraction,
    Recipe,
    Replicate,
    Scenario,
    UserError,
    WholeClass,
)
from harness.records.lines import Basis, Definition, Measurement, Run, canonical, identity, merge
from harness.records.parsing import read_lines, scenario_of, write_line
from harness.runs.keys import PlannedRun
from harness.specs.scenario import REFERENCES
from harness.version import CODE

CIRCUMSTANCES = {
    "device": "cpu",
    "hardware": "box",
    "threads": 1,
    "packages": {"torch": "2"},
    "commit": "",
    "finished": "2026-01-01",
}
COMMITTED = sorted((Path(__file__).parents[2] / "leaderboards" / "records").glob("*.jsonl"))
RULES = [RandomFraction(0.1), WholeClass(3), ClassFraction(3, 0.5), GivenRows((1, 5))]


def run(run_id="a", seed=0, method="m", **changes):
    scenario = Scenario("s", "d", "b", Recipe(1, 0.1), RandomFraction(0.1))
    line = Run(
        run_id=run_id,
        scenario=scenario,
        basis=Basis("f"),
        replicate=Replicate(seed, seed),
        method=method,
        config={"lr": 0.1},
        draw=0,
        source="abc",
        status="finished",
        circumstances=CIRCUMSTANCES,
        cost=Cost({"unlearn": 1.5}, 20.0),
    )
    return dataclasses.replace(line, **changes)


def measurement(run_id="a", value=50.0, version=1):
    return Measurement(run_id, "p", version, {"auc": Estimate(value, 40.0, 60.0, 100)})


@pytest.mark.parametrize("line", [run(), measurement(), measurement(value=None)])
def test_a_line_is_read_as_it_was_written(line):
    text = write_line(line)

    assert "\n" not in text
    assert read_lines(text, "here") == ([line], [])


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_committed_line_is_written_back_as_it_was_read(path):
    text = path.read_text("utf-8")

    lines, newer = read_lines(text, str(path))

    assert "".join(f"{write_line(line)}\n" for line in lines) == text
    assert newer == []


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_committed_run_still_has_the_name_that_its_line_gives(path):
    runs = [line for line in read_lines(path.read_text("utf-8"), "").lines if isinstance(line, Run)]

    names = {}
    for line in runs:
        # The class of a method's config belongs to the name, and no line tells it.
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


@pytest.mark.parametrize("rule", RULES)
def test_a_scenario_comes_back_from_its_line(rule):
    scenario = Scenario("s", "d", "b", Recipe(2, 0.1, augmentation=Augmentation(flip=True)), rule)

    assert scenario_of(json.loads(canonical(scenario))) == scenario


def test_an_identity_does_not_depend_on_order_or_container():
    one = identity({"a": (1, 2), "b": Replicate(1, 2)})
    two = identity({"b": Replicate(1, 2), "a": [1, 2]})

    assert one == two
    assert len(one) == 20


def test_an_identity_tells_values_and_classes_apart():
    ids = [identity(rule) for rule in RULES] + [identity(x) for x in (1, 1.5, "1", None, True)]

    assert len({*ids}) == len(ids)


def test_an_identity_is_the_same_on_every_machine():
    found = identity({"recipe": Recipe(20, 0.1), "forget": RandomFraction(0.1)})

    assert found == identity({"forget": RandomFraction(0.1), "recipe": Recipe(20, 0.1)})
    assert canonical({"b": 0.1, "a": math.nan}) == '{"a":"nan","b":0.1}'


def test_a_value_without_an_exact_form_is_refused():
    with pytest.raises(TypeError, match="has no JSON form"):
        canonical({"what": object()})


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"kind": "run"}', '{"kind": 3}', '"x"', '{"no": 1}', "null"]
)
def test_a_line_that_is_no_record_is_told_with_its_place(text):
    with pytest.raises(UserError, match=r"records/s\.jsonl, line 2: not a record"):
        read_lines(write_line(run()) + "\n" + text, "records/s.jsonl")


def broken(line, *path, value):
    """The text of a line in which the value at the path is another one."""
    fields = json.loads(write_line(line))
    inner = fields
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return json.dumps(fields)


@pytest.mark.parametrize(
    "text",
    [
        broken(run(), "scenario", "name", value="../../evil"),
        broken(run(), "scenario", "recipe", value={}),
        broken(run(), "scenario", "recipe", "epochs", value="many"),
        broken(run(), "scenario", "forget", value={"is": "Recipe", "epochs": 1, "lr": 1}),
        broken(run(), "scenario", "data", value=None),
        broken(run(), "scenario", value={}),
        broken(run(), "scenario", value="s"),
        broken(run(), "method", value="a/b"),
        broken(run(), "replicate", value={}),
        broken(run(), "replicate", "seed", value="one"),
        broken(run(), "replicate", "seed", value=True),
        broken(run(), "draw", value=None),
        broken(run(), "status", value=3),
        broken(run(), "config", value=[]),
        broken(run(), "config", "lr", value=math.nan),
        broken(run(), "config", "lr", value="\ud800"),
        broken(run(), "circumstances", value={}),
        broken(run(), "circumstances", "packages", value={"torch": 2}),
        broken(run(), "cost", "passes", value="few"),
        broken(run(), "cost", "passes", value=math.inf),
        broken(run(), "cost", "seconds", value={"train": None}),
        broken(measurement(), "estimates", "auc", "value", value="high"),
        broken(measurement(), "estimates", "auc", "value", value=10**400),
        broken(measurement(), "estimates", "auc", "high", value=None),
        broken(measurement(), "protocol", value=".."),
        broken(measurement(), "version", value=None),
        broken(measurement(), "run_id", value=["a"]),
        "[" * 100_000,
    ],
)
def test_a_strangers_line_with_a_wrong_value_is_told_with_its_place(text):
    with pytest.raises(UserError, match=r"^there, line 1: not a record \(.+\); restore[^\n]+$"):
        read_lines(text, "there")


def test_a_protocols_higher_version_stands_wherever_it_comes_from():
    old, new = measurement(value=1.0, version=1), measurement(value=2.0, version=2)

    assert merge([new], [old]) == merge([old], [new]) == [new]


def test_the_later_source_stands_and_nothing_is_doubled():
    old, new = run(status="finished"), run(status="diverged")

    merged = merge([old, measurement(value=1.0)], [new, measurement(value=2.0, version=2)])

    assert merged == sorted(merged, key=lambda line: isinstance(line, Run))
    assert [line for line in merged if isinstance(line, Run)] == [new]
    assert len(merged) == 2


def test_the_order_of_lines_does_not_depend_on_the_order_of_arrival():
    lines = [run("c", 2), run("a", 10), run("b", 1, "z"), measurement("a"), measurement("b")]

    assert merge(lines) == merge(lines[::-1])


def test_an_earlier_line_without_digests_is_written_back_as_it_was():
    text = write_line(run())

    assert not {"digest", "original", "retrained", "reason"} & {*json.loads(text)}
    assert not run().outcome


def test_a_run_with_digests_and_a_reason_is_read_as_it_was_written():
    line = run(digest="d", original="o", retrained=("1", "2", "3"), status="failed", reason="why")

    assert read_lines(write_line(line), "here") == ([line], [])


@pytest.mark.parametrize(
    "change", [{"digest": "e"}, {"original": "e"}, {"retrained": ("1", "e")}, {"retrained": ("1",)}]
)
def test_an_outcome_tells_every_digest(change):
    line = run(digest="d", original="o", retrained=("1", "2"))

    assert len(line.outcome) == 20
    assert dataclasses.replace(line, run_id="other", status="diverged").outcome == line.outcome
    assert dataclasses.replace(line, **change).outcome != line.outcome


def test_two_machines_runs_of_one_id_stand_side_by_side_with_their_measurements():
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
def test_a_failure_never_stands_beside_another_status_of_its_run(status, digest):
    failed, made = run(status="failed", reason="no luck"), run(status=status, digest=digest)

    assert merge([failed], [made]) == merge([made], [failed]) == [made]
    assert merge([failed], []) == [failed]


DEFINITION = Definition(
    "p", 1, (Metric("auc", meaning="What it says."), Metric("loss", unit="nats", goal="low"))
)


def test_the_meaning_of_a_protocols_metrics_is_read_as_it_was_written():
    text = write_line(DEFINITION)

    assert read_lines(text, "here") == ([DEFINITION], [])
    assert json.loads(text)["metrics"][0] == {
        "name": "auc",
        "unit": "%",
        "goal": "match",
        "meaning": "What it says.",
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metrics",), "auc"),
        (("metrics",), [{"name": 3}]),
        (("version",), "one"),
        (("protocol",), "../p"),
    ],
)
def test_a_definition_with_a_wrong_value_is_told_with_its_place(path, value):
    with pytest.raises(UserError, match=r"^there, line 1: not a record \(.+\); restore[^\n]+$"):
        read_lines(broken(DEFINITION, *path, value=value), "there")


def test_of_two_definitions_of_one_version_the_later_stands():
    older = dataclasses.replace(DEFINITION, metrics=(Metric("auc"),))

    assert merge([older], [DEFINITION]) == [DEFINITION]


def test_run_and_measure_record_what_every_metric_means_once_a_protocol(unlearn, work):
    unlearn("run", "finetune", "--scenario", "tiny", "--replicates", "1")
    unlearn("run", "finetune", "--scenario", "tiny", "--replicates", "1")
    unlearn("leaderboard")
    text = (work / "leaderboards/records/tiny.jsonl").read_text()
    lines = [x for x in read_lines(text, "").lines if isinstance(x, Definition)]

    assert [(x.protocol, x.version) for x in lines] == [
        ("accuracy", 1),
        ("confidence-mia", 1),
        ("entropy-mia", 1),
        ("loss-mia", 1),
    ]
    assert all(metric.meaning.endswith(".") for line in lines for metric in line.metrics)
    assert unlearn("leaderboard", "--check", "--store", "none")[0] == 0
