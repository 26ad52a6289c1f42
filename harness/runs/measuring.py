"""Plans the measurements that can be made on the runs in a store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from harness.errors import UserError
from harness.plugins.forget_rules import with_plugin_rule
from harness.records.json_lines import MALFORMED, run_of
from harness.records.store import CorruptionError, StepId, Store
from harness.records.store_lines import RUN
from harness.records.versions import is_newer
from harness.runs.keys import LOGITS, PlannedRun
from harness.runs.lineage import broken
from harness.runs.plan import Plan, Step, measurements
from harness.runs.workspace import Workspace
from harness.specs.catalog import Catalog

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
        )
        logits, *retrained = (StepId(LOGITS, key) for key in (facts["logits"], *facts["retrained"]))
        return cls(run, StepId(RUN, run_id), logits, tuple(retrained))

    def revived(self, catalog: Catalog) -> Recorded:
        """The run with its forget rule loaded; raises UserError if no plugin provides the rule."""
        scenario = with_plugin_rule(self.run.scenario, catalog)
        return replace(self, run=replace(self.run, scenario=scenario))


def plan_measurements(workspace: Workspace, say: Say) -> Plan:
    """The plan to apply each protocol to the recorded runs that it is defined for.

    Runs whose logits or data no longer exist are left out; ``say`` gets one line for each reason
    why runs of a scenario are.
    """
    steps: list[Step] = []
    left_out: dict[tuple[str, str], list[PlannedRun]] = defaultdict(list)
    for found in _recorded(workspace.store, say):
        try:
            recorded = found.revived(workspace.catalog)
        except UserError as error:
            left_out[found.run.scenario.name, str(error)].append(found.run)
            continue
        own = [
            *measurements(
                recorded.id,
                recorded.logits,
                recorded.retrained,
                recorded.run,
                workspace.catalog.protocols.values(),
            )
        ]
        if reason := _obstacle(own, workspace):
            left_out[recorded.run.scenario.name, reason].append(recorded.run)
        else:
            steps += own
    for (scenario, reason), runs in left_out.items():
        which = str(runs[0]) if len(runs) == 1 else f"{scenario}: {len(runs)} runs"
        say(f"{which}: left out: {reason}")
    return Plan(tuple(steps))


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
    """Why a run cannot be measured; empty if it can, or if nothing is left to measure."""
    if all(workspace.store.has(*step.id) for step in steps):
        return ""
    for fault in broken(steps[0], workspace.store).values():
        return f"{fault}; `unlearn run` rebuilds it"
    run = steps[0].run
    try:
        found = workspace.dataset(run.scenario.dataset).fingerprint
    except UserError as error:
        return str(error)
    return "" if found == run.fingerprint else f"the dataset has changed (its hash is now {found})"
