"""Puts together the evidence that protocols measure, from the results in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from harness.datasets.halves import audit_rows, first_replicate, split_of_half, states
from harness.datasets.splits import Split
from harness.errors import UserError
from harness.records.lines import Pool, identity
from harness.records.store import StepId, Store
from harness.runs.keys import LOGITS, STACK, PlannedRun, recipe_of
from harness.runs.lineage import facts
from harness.runs.plan import Step
from harness.runs.workspace import Workspace
from harness.specs.evidence import (
    Cost,
    Ensembles,
    Evidence,
    Labels,
    Outputs,
    References,
    Replays,
)
from harness.specs.protocol import ENSEMBLES, POOL, REPLAYS
from harness.specs.scenario import RETRAIN

LOST = 0.05
"""The share of a row's range, largest less smallest logit, that float16 may round away.

An ordinary row loses about 5e-4. Logits with a large common offset, or very small or large ones,
would lose all that tells a forgotten image from an unseen one, and so hide a method from replays.
"""


def split_of(run: PlannedRun, workspace: Workspace) -> Split:
    """The rows of a run: of the train set or, in a pool, of train and test set together."""
    dataset = workspace.dataset(run.scenario.dataset)
    if run.half is None:
        return dataset.split(run.scenario, run.replicate)
    return split_of_half(run.scenario, run.half, workspace.labels(run.scenario.dataset))


def stack(step: Step, workspace: Workspace) -> None:
    """Stores the logits of several models as one array ``(M, N, classes)``.

    It is in float16, or in float32 if float16 loses too much of any row. The N samples are the
    train set, followed by the test set. If a model has no finite logits there is no array, and the
    reason is stored instead.
    """
    parts: list[Tensor] = []
    missing = ""
    digests = []
    for need in step.needs:
        made = workspace.store.read(*need)
        digests.append(str(made.facts["digest"]))
        if not made.facts["finite"]:
            missing = missing or f"{made.facts['run']} has no finite logits"
            continue
        both = [made.tensors[name] for name in ("train", "test") if len(made.tensors[name])]
        parts.append(_compact(torch.cat(both)))
    if any(part.dtype == torch.float32 for part in parts):
        parts = [part.float() for part in parts]
    tensors = {} if missing else {"logits": torch.stack(parts)}
    own = {
        "run": f"{len(step.needs)} models like {step.run}",
        "stacked": digests,
        "digest": "" if missing else identity(digests),
        "missing": missing,
        "recipe": recipe_of(step.run),
    }
    workspace.store.write(*step.id, own, tensors)


def stack_without(step: Step, reason: str, store: Store) -> None:
    """Stores why a stack has no array: one of its models could not be made."""
    with store.lock(*step.id) as mine:
        if mine and not store.has(*step.id):
            own = {"stacked": [], "digest": "", "missing": reason, "recipe": recipe_of(step.run)}
            store.write(*step.id, {"run": f"{len(step.needs)} models", **own}, {})


def _compact(logits: Tensor) -> Tensor:
    """The logits ``(n, classes)`` in float16, or as they are if that loses too much of any row."""
    half = logits.half()
    rounded = (half.double() - logits).abs().amax(dim=1)
    spread = logits.double().amax(dim=1) - logits.amin(dim=1)
    return half if bool((rounded <= LOST * spread).all()) else logits


def stacks_in(step: Step, store: Store) -> list[Mapping[str, Any]]:
    """The facts of the stacks that a measurement needs."""
    return [facts(store, need) for need in step.needs if need.kind == STACK]


def pool_of(stacks: Sequence[Mapping[str, Any]]) -> Pool | None:
    """The pool that a record names: the first stack, which all runs of a scenario share."""
    if not stacks or not stacks[0]["digest"]:
        return None
    return Pool(len(stacks[0]["stacked"]), str(stacks[0]["digest"]))


def evidence_of(step: Step, recorded: Mapping[str, Any], workspace: Workspace) -> Evidence:
    """All that a step's protocol may measure; raises UserError for models of another recipe."""
    run = step.run
    rows = split_of(run, workspace)
    others = [
        key
        for draw, key in enumerate(recorded["retrained"])
        if (run.method, run.draw) != (RETRAIN, draw)
    ]
    evidence = Evidence(
        target=_outputs(recorded["logits"], rows, workspace),
        labels=_labels(run, rows, workspace),
        nonmembers=rows.nonmembers,
        retrained=tuple(_outputs(key, rows, workspace) for key in others),
        cost=Cost(**recorded["line"]["cost"]),
    )
    needs = step.protocol.needs if step.protocol else frozenset()
    stacks = iter([_read(id_, run, workspace) for id_ in step.needs if id_.kind == STACK])
    pool = next(stacks) if needs & {POOL, REPLAYS} else None
    if POOL in needs and pool is not None:
        references = _references(run, rows, pool, recorded["logits"], workspace)
        evidence = replace(evidence, references=references)
    if REPLAYS in needs:
        evidence = replace(evidence, replays=_replays(run, next(stacks), workspace))
    if ENSEMBLES in needs:
        ensembles = _ensembles(run, next(stacks), next(stacks), workspace)
        evidence = replace(evidence, ensembles=ensembles)
    return evidence


def _read(id_: StepId, run: PlannedRun, workspace: Workspace) -> Tensor:
    """``(M, N, classes)``: a stack; raises UserError if its models have another recipe."""
    found = workspace.store.read(*id_)
    if found.facts["recipe"] != recipe_of(run):
        # an attack with references of another recipe is weaker, and nobody would notice
        raise UserError(
            f"{run}: its reference models (stacks/{id_.key}) were trained on other data, with "
            f"another backbone or by another recipe; `unlearn run` stacks its own"
        )
    return found.tensors["logits"]


def _references(
    run: PlannedRun, rows: Split, pool: Tensor, logits: str, workspace: Workspace
) -> References:
    labels = workspace.labels(run.scenario.dataset)
    own = workspace.store.read(LOGITS, logits).tensors
    return References(
        logits=pool,
        state=states(run.scenario, labels, len(pool)),
        labels=labels,
        forget=rows.forget,
        retain=rows.retain,
        test=rows.test + len(own["train"]),
        everything=torch.cat([own["train"], own["test"]]),
    )


def _replays(run: PlannedRun, replayed: Tensor, workspace: Workspace) -> Replays:
    labels = workspace.labels(run.scenario.dataset)
    state = states(run.scenario, labels, len(replayed))
    audited = audit_rows(run.scenario, labels)
    return Replays(replayed[:, audited], state[:, audited], labels[audited])


def _ensembles(
    run: PlannedRun, retrained: Tensor, unlearned: Tensor, workspace: Workspace
) -> Ensembles:
    first = replace(run, replicate=first_replicate(run.scenario))
    rows = split_of(first, workspace)
    n = len(workspace.dataset(run.scenario.dataset).train)

    def outputs(stacked: Tensor) -> tuple[Outputs, ...]:
        return tuple(
            Outputs(one[rows.forget].float(), one[rows.retain].float(), one[rows.test + n].float())
            for one in stacked
        )

    return Ensembles(outputs(unlearned), outputs(retrained), _labels(first, rows, workspace))


def _labels(run: PlannedRun, rows: Split, workspace: Workspace) -> Labels:
    dataset = workspace.dataset(run.scenario.dataset)
    train, test = dataset.train.labels.cpu(), dataset.test.labels.cpu()
    return Labels(train[rows.forget], train[rows.retain], test[rows.test])


def _outputs(key: str, rows: Split, workspace: Workspace) -> Outputs:
    logits = workspace.store.read(LOGITS, key).tensors
    train = logits["train"]
    return Outputs(train[rows.forget], train[rows.retain], logits["test"][rows.test])
