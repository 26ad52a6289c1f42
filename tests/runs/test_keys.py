"""The ids in the committed records can be computed from the settings in their lines."""

import dataclasses
import json
from pathlib import Path

import pytest

from harness import RandomFraction, Recipe, Scenario
from harness.records.json_lines import scenario_of
from harness.records.lines import Basis
from harness.runs.keys import PlannedRun
from harness.specs.scenario import REFERENCES, Replicate
from harness.version import CODE

BASIS = {field.name for field in dataclasses.fields(Basis)}
RECORDS = sorted((Path(__file__).parents[2] / "leaderboards" / "records").glob("*.jsonl"))


def planned(line):
    """The planned run of a reference's record; a method may have new settings by now."""
    scenario = line["scenario"]
    return PlannedRun(
        scenario=scenario_of({k: v for k, v in scenario.items() if k not in BASIS}),
        fingerprint=scenario["data"],
        build=scenario["build"],
        replicate=Replicate(**line["replicate"]),
        method=line["method"],
        config=None,
        source=line["source"],
        draw=line["draw"],
    )


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: file.stem)
def test_recorded_references_keep_their_run_ids(file):
    runs = [each for each in map(json.loads, file.read_text().splitlines()) if "draw" in each]
    lines = [
        run for run in runs if run["method"] in REFERENCES and run["scenario"].get("code") == CODE
    ]

    assert [planned(line).record.key for line in lines] == [line["run_id"] for line in lines]
    replicates = {(each["replicate"]["seed"], each["replicate"]["forget_seed"]) for each in lines}
    assert len(lines) >= 4 * len(replicates)  # an original and three retrained models each
    assert len(replicates) >= 6


def test_another_recipe_for_methods_changes_unlearned_models_alone():
    scenario = Scenario("s", "d", "b", Recipe(2, 0.1), RandomFraction(0.1))
    other = dataclasses.replace(scenario, fine_tuning=Recipe(9, 0.1, weight_decay=0.0))

    models = {
        method: {PlannedRun(each, Replicate(0, 0), method).model for each in (scenario, other)}
        for method in (*REFERENCES, "m")
    }

    assert {method: len(found) for method, found in models.items()} == {
        "original": 1,
        "retrain": 1,
        "m": 2,
    }
