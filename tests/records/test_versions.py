"""Records of a newer version: kept byte for byte, not shown, and mentioned once per place."""

import json

import pytest
from printed import published

from harness.records.json_lines import read_lines, write_line
from harness.records.lines import Measurement, Run
from harness.records.versions import is_newer


def edited(text, *path, value):
    """The text of a line with another, or an additional, value at the path."""
    fields = json.loads(text)
    inner = fields
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return json.dumps(fields)


@pytest.fixture
def records(unlearn, work):
    """The file of records after one finished replicate."""
    unlearn("run", "finetune", "--scenario", "tiny", "--replicates", "1")
    unlearn("leaderboard")
    return work / "leaderboards" / "records" / "tiny.jsonl"


NEWER = {
    "kind": (Run, ("kind",), "verdict"),
    "field": (Run, ("room",), 3),
    "status": (Run, ("status",), "postponed"),
    "code": (Run, ("scenario", "code"), 10**6),
    "scenario": (Run, ("scenario", "requests"), 3),
    "recipe": (Run, ("scenario", "recipe", "optimiser"), "adamw"),
    "rule": (Run, ("scenario", "forget"), {"is": "Corrupted", "share": 0.1}),
    "cost": (Run, ("cost", "joules"), 3.0),
    "replicate": (Run, ("replicate", "request"), 1),
    "measurement": (Measurement, ("references",), 3),
    "estimate": (Measurement, ("estimates", "forget", "sd"), 3.0),
}


@pytest.mark.parametrize("case", NEWER)
def test_a_line_of_a_newer_version_is_kept_byte_for_byte_and_mentioned_once(unlearn, records, case):
    cls, path, value = NEWER[case]
    lines = records.read_text().splitlines()
    own = next(
        text
        for text in lines
        for line in read_lines(text, "").lines
        if isinstance(line, cls) and (cls is Run or line.protocol == "accuracy")
    )
    newer = " " + edited(own, *path, value=value).replace(":", " :", 1)
    records.write_text("\n".join([newer, *lines]) + "\n")

    status, _, err = unlearn("leaderboard")

    assert status == 0
    assert err.count("newer version") == 1
    assert "1 lines of leaderboards/records/tiny.jsonl were written by a newer version" in err
    assert records.read_text().splitlines() == [*lines, newer]
    assert unlearn("leaderboard", "--check", "--store", "none")[0] == 0


@pytest.mark.parametrize(
    ("path", "value"), [(("kind",), 3), (("status",), 3), (("scenario", "code"), "two")]
)
def test_a_wrong_type_does_not_count_as_a_newer_version(records, path, value):
    text = next(line for line in records.read_text().splitlines() if '"kind": "run"' in line)

    assert not is_newer(json.loads(edited(text, *path, value=value)))


def test_a_measurement_of_a_newer_versions_run_is_kept(unlearn, records):
    lines = records.read_text().splitlines()
    own = next(x for x in lines if '"kind": "run"' in x and '"method": "finetune"' in x)
    others = [x for x in lines if x != own]
    newer = edited(own, "room", value=3)
    records.write_text("\n".join([*others, newer]) + "\n")

    unlearn("leaderboard", "--store", "none")

    assert records.read_text().splitlines() == [*others, newer]
    page = records.parents[1] / "tiny.md"
    assert "| finetune" not in page.read_text()


def test_pages_that_only_a_newer_version_knows_are_kept(unlearn, records):
    page = records.parents[1] / "verdict.md"
    page.write_text((records.parents[1] / "tiny.md").read_text())
    records.with_name("later.jsonl").write_text('{"kind": "verdict"}\n')

    unlearn("leaderboard")

    assert page.exists()
    assert records.with_name("later.jsonl").read_text() == '{"kind": "verdict"}\n'


@pytest.mark.parametrize(
    "path", [("proof",), ("paper", "doi"), ("columns", 0, "goal"), ("numbers", 0, "low")]
)
def test_a_published_table_with_a_field_of_a_newer_version_is_recognised(path):
    text = write_line(published())

    assert is_newer(json.loads(edited(text, *path, value="x")))
    assert not is_newer(json.loads(text))
