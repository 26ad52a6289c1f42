"""Records name the logits of a run, and say why a method failed."""

import pytest
from suites import METHOD

from harness.plugins.catalog import load_catalog
from harness.records.lines import Run
from harness.records.store import Store, digest
from harness.records.store_lines import stored_lines
from harness.runs.recording import record_failure
from harness.runs.steps import _probe, do_step
from harness.runs.wanted import Wanted, prepare


def test_a_run_names_its_logits_and_those_of_its_references(unlearn, finished, work):
    store = Store(work / "runs")
    for run_id in store.keys("runs"):
        facts = store.read("runs", run_id).facts
        line = facts["line"]
        behind = [facts["logits"], *facts["retrained"]]
        found = [digest(store.read("logits", key).tensors) for key in behind]

        assert found == [line["digest"], *line["retrained"]]
        assert len({*found, line["original"]}) >= 4
        assert (line["method"] == "original") == (line["original"] == line["digest"])
        assert (line["method"] == "retrain") == (line["digest"] in line["retrained"])
    outcomes = {
        store.read("measurements", key).facts["line"]["outcome"]
        for key in store.keys("measurements")
    }
    assert len(outcomes) == 12


def test_a_failure_is_kept_with_its_reason_until_the_run_succeeds(unlearn, work):
    (work / "mine.py").write_text(METHOD.format(body="raise RuntimeError('no luck')"))
    wanted = Wanted(
        methods=("mine",),
        scenarios=("tiny",),
        replicates=1,
        plugins=("tiny_plugin.py", "mine.py"),
        device="cpu",
    )
    unlearn("run", "mine", "--scenario", "tiny", "--replicates", "1", "-p", "mine.py")
    workspace, plan = prepare(wanted, load_catalog(wanted.plugins))
    step = next(s for s in plan.steps if (s.id.kind, s.run.method) == ("models", "mine"))
    run_step = next(s for s in plan.steps if (s.id.kind, s.run.method) == ("runs", "mine"))

    record_failure(step, "RuntimeError: no\nluck", workspace.store)
    (failure,) = (
        x for x in stored_lines(workspace.store, print) if isinstance(x, Run) and x.reason
    )
    workspace.store.write("models", *_model_facts(workspace, step))
    for each in plan.steps:
        if each.run.method == "mine" and each.id.kind != "models":
            do_step(each, workspace)

    assert (failure.status, failure.reason) == ("failed", "RuntimeError: no luck")
    assert (failure.run_id, failure.outcome, failure.cost.passes) == (run_step.id.key, "", 0)
    assert workspace.store.keys("failures") == []
    assert not any(x.reason for x in stored_lines(workspace.store, print) if isinstance(x, Run))


def _model_facts(workspace, step):
    """Facts and tensors of an unlearned model with the original's weights."""
    original = workspace.store.read(*step.needs[0])
    weights = {name: value for name, value in original.tensors.items() if name != ".probe"}
    logits = workspace.models(step.run.scenario).probed(weights, _probe(step.run, workspace))
    return (
        step.id.key,
        {**original.facts, "original": original.facts["digest"]},
        {**weights, ".probe": logits},
    )


@pytest.mark.parametrize(("method", "kind"), [("retrain", "models"), ("finetune", "measurements")])
def test_failures_of_references_and_protocols_are_not_recorded(unlearn, finished, method, kind):
    wanted = Wanted(
        methods=("finetune",), scenarios=("tiny",), plugins=("tiny_plugin.py",), device="cpu"
    )
    workspace, plan = prepare(wanted, load_catalog(wanted.plugins))

    step = next(s for s in plan.steps if (s.id.kind, s.run.method) == (kind, method))
    record_failure(step, "why", workspace.store)

    assert workspace.store.keys("failures") == []
