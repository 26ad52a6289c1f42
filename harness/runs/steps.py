"""Does one step: makes a model, computes its logits, writes its record, or measures it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from harness.datasets.halves import half_rows
from harness.datasets.splits import training_rows
from harness.errors import UserError
from harness.isolation.replacements import Everyones
from harness.records.json_lines import fields_of
from harness.records.lines import FINISHED, Measurement
from harness.records.store import StepId, Store, digest
from harness.records.store_lines import MEASUREMENT, RUN
from harness.runs.environment import circumstances, now
from harness.runs.evidence import evidence_of, pool_of, split_of, stack, stacks_in
from harness.runs.keys import LOGITS, MODEL, STACK, PlannedRun
from harness.runs.lineage import outcome, require_one_lineage
from harness.runs.method_call import call_of
from harness.runs.models import Models, model_seed
from harness.runs.plan import Step
from harness.runs.product import PROBE, Product, difference
from harness.runs.recording import record
from harness.runs.workspace import Workspace
from harness.seeds import derive
from harness.specs.checks import shown
from harness.specs.evidence import Evidence
from harness.specs.protocol import Estimate, Protocol
from harness.specs.scenario import ORIGINAL, REFERENCES, RETRAIN
from harness.specs.score_summary import ScoreSummary

LOGITS_OF_PROBE = ".probe"
"""The name under which a model's logits on a few images are stored with its weights."""


class ProtocolError(Exception):
    """A protocol returned something other than what it declared."""


class EditedError(UserError):
    """A model was made by code other than its key names, and is discarded."""


def do_step(
    step: Step,
    workspace: Workspace,
    *,
    isolated: bool = False,
    most_passes: float = math.inf,
    edited: Callable[[], str] = lambda: "",
) -> str:
    """Computes a step and writes its result to the store; the caller holds the step's lock.

    ``isolated`` says that this process ends after this step. ``edited`` returns the name of a
    module of the method's source that was edited meanwhile, or "". Returns how a model's
    architecture was changed, or "". Raises CorruptionError if a result that the step needs is
    broken or contradicts another, OverBudgetError if a method takes more passes than granted, and
    EditedError.
    """
    if step.id.kind == MODEL:
        where = circumstances(workspace.device, isolated=isolated)  # before a method can change it
        product, original = _make(step, workspace, isolated=isolated, most_passes=most_passes)
        if module := edited():
            raise EditedError(f"{module} was edited while it ran; the same command runs it again")
        _keep_model(step, product, original, where, workspace.store)
        return product.changed
    if step.id.kind == LOGITS:
        return _predict(step, workspace)
    if step.id.kind == RUN:
        record(step, workspace.store)
    elif step.id.kind == STACK:
        stack(step, workspace)
    else:
        _measure(step, workspace)
    return ""


def _make(
    step: Step, workspace: Workspace, *, isolated: bool, most_passes: float
) -> tuple[Product, str]:
    """The model, and the digest of the original that it was made from; "" for a reference."""
    run = step.run
    if run.method in REFERENCES:
        return _reference(run, workspace), ""
    original = _weights(step.needs[0], workspace)
    origin = digest(original)  # before a method can change it
    call = call_of(
        _maker(run, workspace),
        workspace.catalog.methods[run.method],
        run.config,
        original,
        rows=split_of(run, workspace),
        probe=_probe(run, workspace),
        seed=_seed(run),
    )
    if isolated:
        workspace.forget_data()
        return call.carry_out(most_passes), origin
    shared = Everyones(type(part) for part in call.task.model.modules())
    try:
        return call.carry_out(most_passes), origin
    finally:
        shared.put_back()  # a class that a method patches would answer for every later model


def _reference(run: PlannedRun, workspace: Workspace) -> Product:
    """The original model, one of a pool, or one retrained without the forget set."""
    purpose = ORIGINAL if run.method == ORIGINAL else f"{RETRAIN}/{run.draw}"
    rows = _trained_on(run, workspace)
    product = _maker(run, workspace).trained(rows, _probe(run, workspace), _seed(run), purpose)
    _require_unchanged(run, product.changed)
    return product


def _maker(run: PlannedRun, workspace: Workspace) -> Models:
    """Makes the run's models: those of a pool are trained on train and test set together."""
    if run.half is None:
        return workspace.models(run.scenario)
    return workspace.united(run.scenario)


def _seed(run: PlannedRun) -> int:
    if run.half is not None:
        return derive(run.half, "pool")
    return run.replicate.seed if run.method == ORIGINAL else model_seed(run.replicate)


def _trained_on(run: PlannedRun, workspace: Workspace) -> Tensor:
    """The rows that a reference is trained on."""
    if run.method == RETRAIN:
        return split_of(run, workspace).retain
    if run.half is not None:
        return half_rows(len(workspace.labels(run.scenario.dataset)), run.half)
    count = len(workspace.dataset(run.scenario.dataset).train)
    return training_rows(run.scenario, run.replicate, count)


def _keep_model(
    step: Step, product: Product, original: str, where: Mapping[str, Any], store: Store
) -> None:
    facts = {
        "run": str(step.run),
        "changed": product.changed,
        "cost": dataclasses.asdict(product.cost),
        "circumstances": {**where, "finished": now()},
        "digest": digest(product.weights),
        "original": original,
    }
    tensors = {**product.weights, LOGITS_OF_PROBE: product.probe}
    store.write(*step.id, facts, tensors)


def _weights(model: StepId, workspace: Workspace) -> dict[str, Tensor]:
    """The stored weights of a model, without its logits."""
    tensors = workspace.store.read(*model).tensors
    return {name: value for name, value in tensors.items() if name != LOGITS_OF_PROBE}


def _probe(run: PlannedRun, workspace: Workspace) -> Tensor:
    """The train rows ``(n,)`` that a model is checked on, determined by the model's key alone."""
    if run.method == ORIGINAL:
        return _trained_on(run, workspace)[: 2 * PROBE]
    rows = split_of(run, workspace)
    others = rows.retain if run.method == RETRAIN else rows.visible
    return torch.cat([rows.forget[:PROBE], others[:PROBE]])


def _predict(step: Step, workspace: Workspace) -> str:
    """Stores the logits; returns how the model differs from a fresh network with its weights."""
    made = workspace.store.read(*step.needs[0])
    changed = str(made.facts.get("changed", ""))
    found = ""
    logits: dict[str, Tensor] = {}
    if not changed:  # otherwise no fresh network has these weights
        models = _maker(step.run, workspace)
        weights = dict(made.tensors)
        own = weights.pop(LOGITS_OF_PROBE)
        found = difference(own, models.probed(weights, _probe(step.run, workspace)))
        if step.run.method in REFERENCES:
            _require_unchanged(step.run, found)
        if not found:
            train, test = models.outputs(weights)
            logits = {"train": train, "test": test}
    facts = {
        "run": str(step.run),
        "finite": bool(logits) and all(bool(each.isfinite().all()) for each in logits.values()),
        "model": made.facts.get("digest", ""),
        "changed": changed or found,
        "digest": digest(logits),
    }
    workspace.store.write(*step.id, facts, logits)
    return found


def _measure(step: Step, workspace: Workspace) -> None:
    assert step.protocol is not None
    require_one_lineage(step, workspace.store)
    recorded = workspace.store.read(*step.needs[0]).facts
    stacks = stacks_in(step, workspace.store)
    status = recorded["line"]["status"]
    missing = next((str(each["missing"]) for each in stacks if each["missing"]), "")
    scores = None
    if status == FINISHED and not missing:
        evidence = evidence_of(step, recorded, workspace)
        estimates = checked(step.protocol, evidence)
        scores = _summarised(step.protocol, evidence)
    else:
        nothing = Estimate(None, note=missing if status == FINISHED else status)
        estimates = {metric.name: nothing for metric in step.protocol.metrics}
    line = Measurement(
        run_id=step.needs[0].key,
        protocol=step.protocol.name,
        version=step.protocol.version,
        estimates=estimates,
        outcome=outcome(recorded["line"]),
        pool=pool_of(stacks),
        scores=scores,
    )
    facts: dict[str, Any] = {"line": fields_of(line)}
    if stacks:
        facts["stacks"] = [each["digest"] for each in stacks]
    workspace.store.write(MEASUREMENT, step.id.key, facts, None)


def _summarised(protocol: Protocol, evidence: Evidence) -> ScoreSummary | None:
    """The protocol's summary of its scores, if any; raises ProtocolError for anything else."""
    scores = protocol.summarise(evidence) if protocol.summarise else None
    if not isinstance(scores, ScoreSummary | None):
        raise ProtocolError(
            f"protocol {protocol.name!r}: summarise returned {shown(scores)}; expected a "
            f"ScoreSummary or None"
        )
    return scores


def _require_unchanged(run: PlannedRun, changed: str) -> None:
    """Raises UserError if a reference was changed: its backbone keeps state outside its weights."""
    if changed:
        raise UserError(
            f"backbone {run.scenario.backbone!r} cannot be used: {changed}; all that its logits "
            f"depend on must be in its state dict"
        )


def checked(protocol: Protocol, evidence: Evidence) -> dict[str, Estimate]:
    """The protocol's estimates.

    Raises ProtocolError unless there is exactly one Estimate, finite or None, for each declared
    metric.
    """
    estimates = protocol.measure(evidence)
    what = f"protocol {protocol.name!r}"
    declared = [metric.name for metric in protocol.metrics]
    if not isinstance(estimates, Mapping):
        raise ProtocolError(
            f"{what} returned {shown(estimates)}; expected a mapping of {_listed(declared)} to "
            f"Estimate(…)"
        )
    if {*estimates} != {*declared}:
        found = _listed(estimates) or "no estimate"
        raise ProtocolError(f"{what} returned {found}; it declares {_listed(declared)}")
    for name, estimate in estimates.items():
        if not isinstance(estimate, Estimate):
            found = shown(estimate)
            raise ProtocolError(
                f"{what} returned {found} as its {name!r}; write {_as_estimate(estimate)}"
            )
    return {name: estimates[name] for name in declared}


def _listed(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(repr, names)))


def _as_estimate(value: object) -> str:
    """How to write the value as an Estimate."""
    finite = isinstance(value, int | float) and math.isfinite(value)
    return f"Estimate({value!r})" if finite else "Estimate(…)"
