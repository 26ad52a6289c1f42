"""The names of runs: those in the committed records follow from what their lines say was asked."""

import dataclasses
import json
from pathlib import Path

import pytest

from harness.records.lines import Basis
from harness.records.parsing import scenario_of
from harness.runs.keys import PlannedRun
from harness.specs.scenario import REFERENCES, Replicate
from harness.version import CODE

BASIS = {field.name for field in dataclasses.fields(Basis)}
RECORDS = sorted((Path(__file__).parents[2] / "leaderboards" / "records").glob("*.jsonl"))


def asked(line):
    """The run of a reference's line; a method's may have gained a setting since."""
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
def test_a_recorded_reference_keeps_its_name(file):
    runs = [each for each in map(json.loads, file.read_text().splitlines()) if "draw" in each]
    lines = [
        run for run in runs if run["method"] in REFERENCES and run["scenario"].get("code") == CODE
    ]

    assert [asked(line).record.key for line in lines] == [line["run_id"] for line in lines]
    assert len(lines) >= 40
