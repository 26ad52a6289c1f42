"""Plans the measurements that can be made on the runs in a store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from harness.errors import UserError
from harness.plugins.catalog import find
from harness.plugins.forget_rules import with_plugin_rule
from harness.records.json_lines import MALFORMED, run_of
from harness.records.lines import canonical
from harness.records.store import CorruptionError, StepId, Store
from harness.records.store_lines import RUN
from harness.records.versions import is_newer
from harness.runs.audit import Audit, Stacks, audit_of
from harness.runs.keys import LOGITS, PlannedRun
from harness.runs.lineage import broken
from harness.runs.plan import Needed, Plan, Step, measurements, needed_by, stacking
from harness.runs.workspace import Workspace
from harness.specs.catalog import Catalog
from harness.specs.pool_size import SIZES
from harness.specs.protocol import POOL
from harness.specs.scenario import Scenario

Say = Callable[[str], None]


@dataclass(frozen=True)
class Recorded:
    """A run in the store, with the keys of the logits that it is measured on.

    The keys are read rather than computed, since an earlier version may have chosen them.
    """

    run: PlannedRun
    id: StepId
    logits: StepId
    retrained: tuple[StepId, ...]

    @classmethod
    def read(cls, run_id: str, store: Store) -> Recorded | None:
        """The run with this id, or None if a newer version of this program wrote it.

        Raises CorruptionError, or one of MALFORMED.
        """
        facts = store.read(RUN, run_id).facts
        if is_newer({"kind": "run", **facts["line"]}):
            return None
        line = run_of(facts["line"])
        run = PlannedRun(
            scenario=line.scenario,
            replicate=line.replicate,
            method=line.method,
            config=line.config,
            draw=line.draw,
            source=line.source,
            fingerprint=line.basis.data,
            build=line.basis.build,
        )
        logits, *retrained = (StepId(LOGITS, key) for key in (facts["logits"], *facts["retrained"]))
        return cls(run, StepId(RUN, run_id), logits, tuple(retrained))

    def revived(self, catalog: Catalog) -> Recorded:
        """The run with its forget rule loaded, and with its config as the method's own class.

        Raises UserError if no plugin provides the rule. The config stays as recorded if no plugin
        provides the method, or if its config has other fields now.
        """
        run = replace(self.run, scenario=with_plugin_rule(self.run.scenario, catalog))
        method = catalog.methods.get(run.method)
        if method is not None and method.config is not None:
            with suppress(TypeError, ValueError, UserError):
                run = replace(run, config=replace(method.config, **run.config))
        return replace(self, run=run if run.config else replace(run, config=None))


@dataclass(frozen=True)
class Request:
    """What ``unlearn measure`` is asked for."""

    protocols: tuple[str, ...] = ()
    """The only protocols to measure; if empty: all for which the store has what they need."""
    pool: int = 0
    """The number of reference models; if 0: the scenario's, or a standard pool's."""


def plan_measurements(workspace: Workspace, say: Say, request: Request) -> Plan:
    """The plan to apply each protocol to the recorded runs that it is defined for.

    Nothing is trained: of reference models and replays only those in the store are used. Runs whose
    logits or data no longer exist are left out; ``say`` gets one line for each reason why runs of a
    scenario are.
    """
    steps: dict[StepId, Step] = {}
    stacks = Stacks()
    left_out: dict[tuple[str, str], list[PlannedRun]] = defaultdict(list)
    for name in request.protocols:
        find("protocol", name, workspace.catalog.protocols, workspace.catalog.failures)
    every = [*_recorded(workspace.store, say)]
    first = _first_of_each_row(every)
    for found in every:
        own, reasons = _planned(found, workspace, request, stacks, first=found.id in first)
        steps |= {step.id: step for step in own}
        for reason in reasons:
            left_out[found.run.scenario.name, reason].append(found.run)
    for (scenario, reason), runs in left_out.items():
        which = str(runs[0]) if len(runs) == 1 else f"{scenario}: {len(runs)} runs"
        say(f"{which}: left out: {reason}")
    return Plan(tuple(steps.values()))


def _first_of_each_row(every: Iterable[Recorded]) -> set[StepId]:
    """The run of the lowest seeds, for each scenario, method and settings."""
    first: dict[tuple[str, ...], Recorded] = {}
    for found in sorted(every, key=lambda each: _seeds(each.run)):
        run = found.run
        row = (run.scenario.name, run.fingerprint, run.method, canonical(run.config), run.source)
        first.setdefault(row, found)
    return {found.id for found in first.values()}


def _seeds(run: PlannedRun) -> tuple[int, int, int]:
    return run.replicate.seed, run.replicate.forget_seed, run.draw


def _planned(
    found: Recorded, workspace: Workspace, request: Request, stacks: Stacks, *, first: bool
) -> tuple[list[Step], list[str]]:
    """The steps that measure a recorded run, and why something that was asked for is left out."""
    catalog, store = workspace.catalog, workspace.store
    try:
        recorded = found.revived(catalog)
        audit = _audit(recorded.run.scenario, catalog, request)
    except UserError as error:
        return [], [str(error)]
    steps: list[Step] = []
    reasons: list[str] = []
    for needed in needed_by(recorded.run, audit, stacks, first=first):
        if absent := _absent(needed, audit.pool, store):
            reasons += [absent] if request.protocols else []
            continue
        own = _measured(recorded, needed, store)
        if obstacle := _obstacle(own, workspace):
            reasons.append(obstacle)
        else:
            steps += own
    return steps, [*dict.fromkeys(reasons)]


def _audit(scenario: Scenario, catalog: Catalog, request: Request) -> Audit:
    """The protocols that may be measured; raises UserError if one is asked for that cannot be."""
    known = catalog.scenarios.get(scenario.name, scenario)
    size = request.pool or known.pool or scenario.pool or SIZES["standard"]
    only = request.protocols
    if not only and scenario.held_out:  # replays and ensembles are impossible there
        only = tuple(name for name, each in catalog.protocols.items() if each.needs <= {POOL})
    return audit_of(scenario, catalog, only=only or tuple(catalog.protocols), pool=size)


def _absent(needed: Needed, pool: int, store: Store) -> str:
    """Which models a protocol needs that the store lacks; empty if it has all."""
    protocol, stacks = needed
    for stack in stacks:
        run = stack.runs[0]
        if isinstance(run.config, Mapping):  # as recorded: replays have other keys
            return (
                f"protocol {protocol.name!r} needs further models of method {run.method!r}, which "
                f"cannot be found without its plugin as it was; load it with -p"
            )
        lacking = sum(not store.has(*each.logits) for each in stack.runs)
        if lacking and not store.has(*stack.id):
            return (
                f"protocol {protocol.name!r} needs {len(stack.runs)} models like {run}, "
                f"of which the store lacks {lacking}; "
                f"`unlearn run METHOD --scenario {run.scenario.name} "
                f"--protocols {protocol.name} --pool {pool}` makes them"
            )
    return ""


def _measured(recorded: Recorded, needed: Needed, store: Store) -> list[Step]:
    """The steps that measure one protocol on a run, from stacks or logits that the store has."""
    _, stacks = needed
    found = [stacking(stack) for stack in stacks if not store.has(*stack.id)]
    own = (recorded.id, recorded.logits, recorded.retrained, recorded.run)
    return [*found, *measurements(*own, [needed])]


def _recorded(store: Store, say: Say) -> Iterator[Recorded]:
    """The runs in a store; says which cannot be read, and why."""
    newer = 0
    for run_id in store.keys(RUN):
        try:
            recorded = Recorded.read(run_id, store)
        except CorruptionError as error:
            say(f"left out: {error}; `unlearn run` rebuilds it")
        except MALFORMED as error:
            say(f"left out: {RUN}/{run_id} is not a record ({type(error).__name__}: {error})")
        else:
            if recorded is None:
                newer += 1
            else:
                yield recorded
    if newer:
        say(f"{newer} runs were written by a newer version of this program; kept, not measured")


def _obstacle(steps: Sequence[Step], workspace: Workspace) -> str:
    """Why a protocol cannot be measured by these steps; empty if it can, or if it is already."""
    store = workspace.store
    *_, measurement = steps
    if store.has(*measurement.id):
        return ""
    planned = {step.id for step in steps}
    for step in steps:
        present = tuple(need for need in step.needs if need not in planned)
        for fault in broken(replace(step, needs=present), store).values():
            return f"{fault}; `unlearn run` rebuilds it"
    run = measurement.run
    try:
        found = workspace.dataset(run.scenario.dataset).fingerprint
    except UserError as error:
        return str(error)
    return "" if found == run.fingerprint else f"the dataset has changed (its hash is now {found})"
