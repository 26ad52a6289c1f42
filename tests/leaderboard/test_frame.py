"""The records as a DataFrame: what its columns mean, and that its gaps are the page's."""

import dataclasses

import pytest
from machines import references, rows, run
from pooled import DEFINITIONS, ft

import harness
from harness import Cost, UserError
from harness.leaderboard.frame import COLUMNS
from harness.leaderboard.publish import files, publish
from harness.leaderboard.table import tables
from harness.records.lines import Pool


def results(folder, lines):
    wanted = files(lines)
    publish(folder, wanted, wanted)
    return harness.load_results(folder)


PAGE = [*references(range(3)), *rows("m", range(3), 84), *rows("n", range(3), 90)]


def test_there_is_a_line_for_each_run_and_metric(tmp_path):
    frame = results(tmp_path, PAGE)

    first = frame[(frame.method == "m") & (frame.seed == 0)].set_index("metric")
    assert len(frame) == 4 * (3 * 4 + 3 + 3)
    assert first.loc["accuracy.forget", "value"] == 84
    assert first.loc["accuracy.forget", "difference"] == 4
    assert (first.loc["loss-mia.auc", "value"], first.loc["loss-mia.auc", "difference"]) == (50, 0)
    assert (first.config == "{}").all()
    assert (first.status == "finished").all()
    assert (first.passes == 100).all()


def test_the_gaps_of_the_page_follow_from_its_differences(tmp_path):
    frame = results(tmp_path, PAGE)

    distances = frame[frame.counts_in_gap].assign(gap=lambda lines: lines.difference.abs())
    gaps = distances.groupby(["method", "seed"]).gap.mean()
    (table,) = tables(PAGE)
    for name in ("m", "n"):
        assert gaps[name].to_dict() == {at[0]: gap for at, gap in table.gaps[name].items()}


def test_retrained_models_have_no_difference_from_themselves(tmp_path):
    frame = results(tmp_path, PAGE)

    assert frame[frame.method == "retrain"].difference.isna().all()
    assert sorted({*frame[frame.method == "retrain"].draw}) == [0, 1, 2]


def test_a_failed_run_has_one_line_without_a_metric(tmp_path):
    failed = run("m", 7, status="failed", digest="", original="", retrained=(), reason="why")
    frame = results(tmp_path, [*PAGE, dataclasses.replace(failed, cost=Cost({}, 0.0))])

    line = frame[frame.seed == 7].iloc[0]
    assert (len(frame[frame.seed == 7]), line.status) == (1, "failed")
    assert frame[["metric", "version", "value", "n"]].isna().loc[line.name].all()


def test_runs_of_a_superseded_source_are_there_and_marked(tmp_path):
    old = rows("m", range(3), 99, source="old", at="0")

    frame = results(tmp_path, [*PAGE, *old])

    superseded = frame[(frame.method == "m") & ~frame.on_page]
    assert len(superseded) == 3 * 4
    assert {*superseded[superseded.metric == "accuracy.forget"].difference} == {19.0}
    assert len(frame[frame.on_page]) == len(results(tmp_path, PAGE))


def test_the_documented_columns_are_those_that_there_are_in_the_types_that_are_promised(tmp_path):
    frame = results(tmp_path, PAGE)

    assert frame.dtypes.map(str).to_dict() == {**COLUMNS}
    assert all(f"``{name}``" in harness.load_results.__doc__ for name in COLUMNS)


@pytest.mark.parametrize("made", [False, True], ids=["missing", "empty"])
def test_a_folder_without_records_is_refused(tmp_path, made):
    folder = tmp_path / "board"
    if made:
        folder.mkdir()

    with pytest.raises(UserError, match="board: no records; expected a folder that `unlearn lead"):
        harness.load_results(folder)


def test_a_measurement_with_a_pool_has_the_pools_size_and_only_one_pool_gives_differences(tmp_path):
    page = [*PAGE, *DEFINITIONS]
    page += ft(PAGE, {"retrain": 50, "m": 51}, swing=(0,))
    page += ft(PAGE, {"n": 51}, pool=Pool(4, "b"))

    frame = results(tmp_path, page)

    attack = frame[(frame.metric == "rmia.ft-auc") & (frame.method != "retrain")]
    assert attack.groupby("method").pool.unique().to_dict() == {"m": [16], "n": [4]}
    assert (attack[attack.method == "m"].difference == 1).all()
    assert attack[attack.method == "n"].difference.isna().all()
    assert frame[frame.metric == "accuracy.forget"].pool.isna().all()
