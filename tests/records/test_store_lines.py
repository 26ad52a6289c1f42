"""The lines in a store: which are found, and which are reported and left out."""

import pytest
from example_lines import DEFINITION, measurement, run

from harness.records.json_lines import fields_of, read_lines
from harness.records.lines import Definition
from harness.records.store import StepId, Store
from harness.records.store_lines import DEFINITION as DEFINITIONS
from harness.records.store_lines import FAILURE, MEASUREMENT, RUN, stored_lines


@pytest.fixture
def store(tmp_path):
    """A store with a run, its measurement, a failed run and a definition."""
    store = Store(tmp_path / "runs")
    for kind, key, line in (
        (RUN, "a", run()),
        (MEASUREMENT, "m", measurement()),
        (FAILURE, "b", run("b", status="failed", reason="no luck")),
        (DEFINITIONS, "d", DEFINITION),
    ):
        store.write(kind, key, {"line": fields_of(line)}, None)
    return store


def test_the_lines_of_every_kind_are_found_including_failures(store):
    reports = []

    lines = stored_lines(store, reports.append)

    assert {type(line).__name__ for line in lines} == {"Run", "Measurement", "Definition"}
    assert {line.run_id for line in lines if hasattr(line, "status")} == {"a", "b"}
    assert reports == []


def test_only_the_lines_of_the_given_steps_are_read(store):
    steps = [StepId(RUN, "a"), StepId(RUN, "missing")]

    assert stored_lines(store, print, steps) == [run()]


def test_a_measurement_without_its_run_is_left_out(store):
    store.discard(RUN, "a")

    assert not any(line.run_id == "a" for line in stored_lines(store, print) if line != DEFINITION)


def test_a_corrupt_result_and_an_invalid_line_are_reported_and_left_out(store):
    (store.root / RUN / "a" / "facts.json").write_text("{}")
    store.write(RUN, "c", {"line": {"run_id": "c"}}, None)
    reports = []

    lines = stored_lines(store, reports.append)

    assert [line.run_id for line in lines if line != DEFINITION] == ["b"]
    assert len(reports) == 2
    assert "facts.json: its checksum differs" in reports[0]
    assert reports[0].endswith("`unlearn run` rebuilds it")
    assert reports[1].startswith("left out: runs/c is not a record (ValidationError: ")


def test_results_of_a_newer_version_are_counted_and_left_out(store):
    for key in ("a", "c"):
        store.write(RUN, key, {"line": {**fields_of(run(key)), "room": 3}}, None)
    reports = []

    lines = stored_lines(store, reports.append)

    assert {line.run_id for line in lines if line != DEFINITION} == {"b"}
    assert len(reports) == 1
    assert reports[0].startswith(f"2 results of {store.root} were written by a newer version")


def test_the_store_contains_one_definition_per_protocol(unlearn, work):
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
