"""Parsing: lines are reproduced exactly, and an invalid line is reported with its place."""

import json
import math
from pathlib import Path

import pytest
from example_lines import DEFINITION, broken, measurement, run
from printed import published

from harness import (
    Augmentation,
    ClassFirst,
    ClassFraction,
    GivenRows,
    NumpyDraw,
    RandomFraction,
    Recipe,
    Scenario,
    UserError,
    WholeClass,
)
from harness.records.json_lines import read_lines, scenario_of, write_line
from harness.records.lines import canonical

COMMITTED = sorted((Path(__file__).parents[2] / "leaderboards" / "records").glob("*.jsonl"))
RULES = [
    RandomFraction(0.1),
    WholeClass(3),
    ClassFraction(3, 0.5),
    ClassFirst(3, 0.5),
    GivenRows((1, 5)),
    NumpyDraw(0.1),
]


@pytest.mark.parametrize("line", [run(), measurement(), measurement(value=None), published()])
def test_a_line_is_read_back_as_it_was_written(line):
    text = write_line(line)

    assert "\n" not in text
    assert read_lines(text, "here") == ([line], [])


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_committed_line_is_reproduced_when_written_again(path):
    text = path.read_text("utf-8")

    lines, newer = read_lines(text, str(path))

    assert "".join(f"{write_line(line)}\n" for line in lines) == text
    assert newer == []


@pytest.mark.parametrize("rule", RULES)
def test_a_scenario_can_be_read_from_its_json(rule):
    scenario = Scenario("s", "d", "b", Recipe(2, 0.1, augmentation=Augmentation(flip=True)), rule)

    assert scenario_of(json.loads(canonical(scenario))) == scenario


def test_a_scenario_with_another_recipe_for_methods_can_be_read_from_its_json():
    methods = Recipe(20, 0.01, 256, augmentation=Augmentation(crop=True))
    scenario = Scenario("s", "d", "b", Recipe(2, 0.1), RandomFraction(0.1), fine_tuning=methods)

    assert scenario_of(json.loads(canonical(scenario))) == scenario


def test_a_run_without_digests_is_written_without_the_later_fields():
    text = write_line(run())

    assert not {"digest", "original", "retrained", "reason"} & {*json.loads(text)}
    assert not run().outcome


def test_a_run_with_digests_and_a_reason_is_read_back_as_it_was_written():
    line = run(digest="d", original="o", retrained=("1", "2", "3"), status="failed", reason="why")

    assert read_lines(write_line(line), "here") == ([line], [])


def test_a_definition_of_metrics_is_read_back_as_it_was_written():
    text = write_line(DEFINITION)

    assert read_lines(text, "here") == ([DEFINITION], [])
    assert json.loads(text)["metrics"][0] == {
        "name": "auc",
        "unit": "%",
        "goal": "match",
        "meaning": "What it says.",
    }


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"kind": "run"}', '{"kind": 3}', '"x"', '{"no": 1}', "null"]
)
def test_a_line_that_is_not_a_record_is_reported_with_its_place(text):
    with pytest.raises(UserError, match=r"records/s\.jsonl, line 2: not a record"):
        read_lines(write_line(run()) + "\n" + text, "records/s.jsonl")


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
def test_a_line_with_an_invalid_value_is_reported_with_its_place(text):
    with pytest.raises(UserError, match=r"^there, line 1: not a record \(.+\); restore[^\n]+$"):
        read_lines(text, "there")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metrics",), "auc"),
        (("metrics",), [{"name": 3}]),
        (("version",), "one"),
        (("protocol",), "../p"),
    ],
)
def test_a_definition_with_an_invalid_value_is_reported_with_its_place(path, value):
    with pytest.raises(UserError, match=r"^there, line 1: not a record \(.+\); restore[^\n]+$"):
        read_lines(broken(DEFINITION, *path, value=value), "there")
