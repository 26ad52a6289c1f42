"""New protocols are measured on old runs, and a newer version replaces an older one."""

import shutil

import pytest
from suites import PROTOCOL, pages


def test_a_new_protocol_is_measured_on_old_runs_without_training(unlearn, finished, work):
    (work / "mine.py").write_text(
        PROTOCOL.format(value="float(evidence.target.forget.mean())", version=1)
    )
    models = sorted(work.glob("runs/models/*"))

    status, out, err = unlearn("measure", "-p", "mine.py")

    assert (status, err) == (0, "")
    assert "measured 12 of 60" in out
    assert sorted(work.glob("runs/models/*")) == models


def test_a_newer_version_of_a_protocol_replaces_an_older_one(unlearn, finished, work):
    for version in (2, 1):
        (work / "mine.py").write_text(PROTOCOL.format(value=f"{version}.0", version=version))
        unlearn("measure", "-p", "mine.py")
    unlearn("leaderboard")

    page = (work / "leaderboards" / "tiny.md").read_text()
    assert "2.0 ± 0.0 (+0.0)" in page
    assert " 1.0 ± 0.0 (+0.0)" not in page


@pytest.mark.parametrize("value", ["float('nan')", "'high'"])
def test_a_protocol_that_returns_no_number_fails_with_the_reason(unlearn, finished, work, value):
    (work / "mine.py").write_text(PROTOCOL.format(value=value, version=1))

    status, _, err = unlearn("measure", "-p", "mine.py")

    assert status == 1
    assert "mine failed" in err
    assert "Estimate: value must be a finite number or None; got" in err


def test_an_older_store_never_replaces_a_newer_measurement(unlearn, finished, work):
    shutil.copytree(work / "runs", work / "old")
    for version, store in ((1, "old"), (2, "runs")):
        (work / "mine.py").write_text(PROTOCOL.format(value=f"{version}.0", version=version))
        unlearn("measure", "-p", "mine.py", "--store", store)
    unlearn("leaderboard")
    newest = pages("leaderboards")

    unlearn("leaderboard", "--store", "old")

    assert "2.0 ± 0.0 (+0.0)" in newest["tiny.md"]
    assert pages("leaderboards") == newest
