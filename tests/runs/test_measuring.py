"""New protocols are measured on old runs, and a newer version replaces an older one."""

import shutil
from dataclasses import replace

import pytest
from suites import PROTOCOL, pages

from harness import (
    ClassFraction,
    Estimate,
    Metric,
    Protocol,
    RandomFraction,
    Recipe,
    Scenario,
    WholeClass,
)
from harness.runs.audit import audit_of
from harness.runs.steps import ProtocolError, checked
from harness.specs.catalog import Catalog


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


@pytest.mark.parametrize(
    ("rule", "measured"),
    [
        (RandomFraction(0.1), ["every"]),
        (WholeClass(3), ["every", "of-classes"]),
        (ClassFraction(3, 0.5), ["every"]),
    ],
)
def test_a_protocol_is_measured_only_on_kinds_that_it_is_defined_for(rule, measured):
    scenario = Scenario("s", "d", "b", Recipe(1, 0.1), rule)
    every = Protocol("every", 1, (Metric("a"),), len)
    of_classes = replace(every, name="of-classes", defined_for={"class"})
    catalog = Catalog(protocols={"every": every, "of-classes": of_classes})

    audit = audit_of(scenario, catalog)

    assert [protocol.name for protocol in audit.protocols] == measured


def test_a_protocol_that_is_defined_for_no_recorded_run_is_measured_on_none(
    unlearn, finished, work
):
    text = PROTOCOL.format(value="1.0", version=1)
    (work / "mine.py").write_text(text.replace("measure)", "measure, defined_for={'class'})"))

    status, out, err = unlearn("measure", "-p", "mine.py")

    assert (status, err) == (0, "")
    assert "measured 0 of 48" in out


@pytest.mark.parametrize("value", ["float('nan')", "'high'"])
def test_a_protocol_that_returns_no_number_fails_with_the_reason(unlearn, finished, work, value):
    (work / "mine.py").write_text(PROTOCOL.format(value=value, version=1))

    status, _, err = unlearn("measure", "-p", "mine.py")

    assert status == 1
    assert "mine failed" in err
    assert "Estimate: value must be a finite number or None; got" in err


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"froget": Estimate(1.0)}, "returned 'froget'; it declares 'forget'"),
        ({}, "returned no estimate; it declares 'forget'"),
        ({"forget": 1.0}, "returned 1.0 as its 'forget'; write Estimate(1.0)"),
        ({"forget": "x"}, "returned 'x' (text) as its 'forget'; write Estimate(…)"),
        (None, "returned None; expected a mapping of 'forget' to Estimate(…)"),
    ],
)
def test_a_protocol_that_breaks_its_declaration_is_named_with_what_it_returned(returned, message):
    protocol = Protocol("bad-prot", 1, (Metric("forget"),), lambda _: returned)

    with pytest.raises(ProtocolError) as error:
        checked(protocol, None)

    assert str(error.value) == f"protocol 'bad-prot' {message}"


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
