"""The evidence of a stored run: the pool's logits and states, at the right positions."""

import shutil
from pathlib import Path

import pytest
import torch

from harness.cli import main
from harness.plugins.catalog import load_catalog
from harness.records.store import Store
from harness.runs.audit import audit_of
from harness.runs.evidence import _compact, evidence_of
from harness.runs.plan import Entrant, Problem, make_plan
from harness.runs.workspace import Workspace
from harness.specs.evidence import FORGET, OUT
from harness.specs.scenario import Replicate

TESTS = Path(__file__).parents[1]
TOYS = ["toy-references", "toy-replays", "toy-ensembles"]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """The workspace, and (method, protocol) → evidence, of one replicate with a pool of four."""
    folder = tmp_path_factory.mktemp("evidence")
    plugins = ["tiny_plugin.py", "audited_plugin.py"]
    for name in plugins:
        shutil.copy(TESTS / "fixtures" / name.replace("_plugin", ""), folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["run", "finetune", "--scenario", "pooled", "--defaults", "--device", "cpu"]
        words += ["--workers", "0", "--protocols", *TOYS, "-p", plugins[0], "-p", plugins[1]]
        assert main(words) == 0
        catalog = load_catalog(plugins)
        workspace = Workspace(Store(Path("runs")), catalog, Path("data"), torch.device("cpu"))
        scenario = catalog.scenarios["pooled"]
        method = catalog.methods["finetune"]
        problem = Problem(
            scenario,
            [Replicate(0, 0)],
            [Entrant(method, method.config)],
            audit_of(scenario, catalog, only=TOYS),
        )
        fingerprint = workspace.dataset("tiny-set").fingerprint
        found = {}
        for step in make_plan([problem], catalog, {"tiny-set": fingerprint}).steps:
            if step.protocol and step.run.draw == 0:
                recorded = workspace.store.read(*step.needs[0]).facts
                evidence = evidence_of(step, recorded, workspace)
                found[step.run.method, step.protocol.name] = step, evidence
    return workspace, found


def test_references_have_the_pools_logits_and_the_positions_of_the_forget_set(given):
    _, found = given
    _, evidence = found["finetune", "toy-references"]
    seen = evidence.references

    assert seen.logits.shape == (4, 120, 3)
    assert (seen.logits.dtype, seen.state.dtype) == (torch.float16, torch.int8)
    assert ((seen.state != OUT).sum(0) == 2).all()
    for part in ("forget", "retain", "test"):
        rows = getattr(seen, part)
        assert torch.equal(seen.everything[rows], getattr(evidence.target, part))
        assert torch.equal(seen.labels[rows], getattr(evidence.labels, part))


def test_the_pools_logits_are_a_forward_of_its_stored_models(given):
    workspace, found = given
    step, evidence = found["finetune", "toy-references"]
    united = workspace.united(step.run.scenario)
    stored = {
        workspace.store.read("models", key).facts["run"]: key
        for key in workspace.store.keys("models")
    }

    for half in range(4):
        weights = dict(
            workspace.store.read("models", stored[f"pool model {half + 1} · pooled"]).tensors
        )
        weights.pop(".probe")
        logits, _ = united.outputs(weights)
        assert torch.allclose(logits, evidence.references.logits[half].float(), atol=5e-3)


def test_replays_of_the_original_are_the_pool_and_those_of_retraining_are_not(given):
    _, found = given
    replays = {m: found[m, "toy-replays"][1].replays for m in ("original", "retrain", "finetune")}
    pool = found["original", "toy-replays"][1].references

    (audited,) = (pool.state == FORGET).any(0).nonzero(as_tuple=True)
    assert torch.equal(replays["original"].logits, pool.logits[:, audited])
    for own in replays.values():
        assert own.logits.shape == (4, 30, 3)
        assert torch.equal(own.state, pool.state[:, audited])
        assert torch.equal(own.labels, pool.labels[audited])
    assert not torch.equal(replays["retrain"].logits, replays["original"].logits)
    assert not torch.equal(replays["finetune"].logits, replays["original"].logits)


def test_ensembles_have_half_as_many_models_as_the_pool(given):
    _, found = given
    for method in ("original", "retrain", "finetune"):
        _, evidence = found[method, "toy-ensembles"]
        own = evidence.ensembles

        assert len(own.unlearned) == len(own.retrained) == 2
        assert torch.equal(own.labels.forget, evidence.labels.forget)
        first = own.retrained[0] if method == "retrain" else own.unlearned[0]
        assert torch.allclose(first.forget, evidence.target.forget, atol=5e-3)


@pytest.mark.parametrize(
    "logits", [[2e4, 2e4 + 1.0], [1e-9, 2e-9], [1e5, 3e5]], ids=["offset", "small", "large"]
)
def test_logits_that_float16_would_merge_stay_in_float32(logits):
    found = _compact(torch.tensor([[0.5, 3.0], logits]))

    assert found.dtype == torch.float32
    assert torch.equal(found[1], torch.tensor(logits))


@pytest.mark.parametrize("logits", [[-30.0, 40.0], [5.01, 4.9], [0.0, 0.0]])
def test_other_logits_are_kept_in_float16(logits):
    assert _compact(torch.tensor([logits])).dtype == torch.float16
