"""Which protocols measure a scenario, and which further models they need."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from harness.datasets.halves import first_replicate
from harness.errors import UserError
from harness.plugins.catalog import find
from harness.records.store import StepId
from harness.runs.keys import PlannedRun, stack_of
from harness.specs.catalog import Catalog
from harness.specs.pool_size import SIZES, ensemble_size
from harness.specs.protocol import ENSEMBLES, POOL, REPLAYS, Protocol
from harness.specs.scenario import ORIGINAL, RETRAIN, Replicate, Scenario

Members = Callable[[PlannedRun, int], list[PlannedRun]]
"""Gives the models of a stack, from a run and their number."""


@dataclass(frozen=True)
class Audit:
    """The protocols that measure a scenario, and the size of its pool."""

    protocols: tuple[Protocol, ...]
    pool: int = 0
    """The number of reference models; 0 if no protocol needs any."""


def audit_of(
    scenario: Scenario,
    catalog: Catalog,
    *,
    only: Collection[str] = (),
    added: Collection[str] = (),
    pool: int = 0,
) -> Audit:
    """The protocols that ``only`` names; or else the scenario's own, with those ``added``.

    The scenario's own are those that need nothing and, if it has a pool, those that need no more
    than that. Protocols that are not defined for its kind of forget set are left out. ``pool`` is
    another size for its pool. Raises UserError for an unknown name, and for a protocol that this
    scenario cannot have.
    """
    size = pool or scenario.pool
    for name in (*only, *added):
        find("protocol", name, catalog.protocols, catalog.failures)
    allowed = {POOL} if size else set()
    chosen = [
        each
        for name, each in catalog.protocols.items()
        if scenario.forget.kind in each.defined_for
        and (name in only if only else each.needs <= allowed or name in added)
    ]
    for each in chosen:
        _require_possible(each, scenario)
    if not any(each.needs for each in chosen):
        size = 0
    elif not size:
        size = SIZES["standard"]
    return Audit(tuple(chosen), size)


def _require_possible(protocol: Protocol, scenario: Scenario) -> None:
    if scenario.held_out and protocol.needs & {REPLAYS, ENSEMBLES}:
        raise UserError(
            f"protocol {protocol.name!r} needs {' and '.join(sorted(protocol.needs))}, which "
            f"scenario {scenario.name!r} cannot have: it holds out {scenario.held_out:.0%} of the "
            f"train set; choose a scenario with held_out 0"
        )


@dataclass(frozen=True)
class Stack:
    """Several models whose logits are kept as one array."""

    id: StepId
    runs: tuple[PlannedRun, ...]


class Stacks:
    """The stacks that protocols need; each is computed once, since many runs share it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int], Stack] = {}

    def needed(self, protocol: Protocol, run: PlannedRun, pool: int) -> tuple[Stack, ...]:
        """What a protocol needs to measure a run.

        The first stack is the same for all runs of a scenario.
        """
        found = []
        if protocol.needs & {POOL, REPLAYS}:
            found.append(self._stack(pool_models, _reference(run, ORIGINAL), pool))
        if REPLAYS in protocol.needs:
            found.append(self._stack(replays, run, pool))
        if ENSEMBLES in protocol.needs:
            size = ensemble_size(pool)
            found.append(self._stack(retrained_ensemble, _reference(run, RETRAIN), size))
            found.append(self._stack(unlearned_ensemble, run, size))
        return tuple(found)

    def _stack(self, members: Members, run: PlannedRun, size: int) -> Stack:
        """The models that ``members`` gives; they do not depend on the run's replicate or draw."""
        typical = replace(run, replicate=first_replicate(run.scenario), draw=0)
        key = (members.__name__, typical.record.key, size)
        if key not in self._known:
            runs = tuple(members(typical, size))
            self._known[key] = Stack(stack_of([each.logits for each in runs]), runs)
        return self._known[key]


def pool_models(run: PlannedRun, size: int) -> list[PlannedRun]:
    """The models of the pool that belongs to a run's data, backbone and recipe."""
    return [_on_half(_reference(run, ORIGINAL), half) for half in range(size)]


def replays(run: PlannedRun, size: int) -> list[PlannedRun]:
    """The run's method on each model of the pool; for the original, the models themselves."""
    return [_on_half(run, half) for half in range(size)]


def retrained_ensemble(run: PlannedRun, size: int) -> list[PlannedRun]:
    """Retrained models of the first replicate's forget set."""
    base = replace(_reference(run, RETRAIN), replicate=first_replicate(run.scenario))
    return [replace(base, draw=draw) for draw in range(size)]


def unlearned_ensemble(run: PlannedRun, size: int) -> list[PlannedRun]:
    """The run's method on as many originals, to forget the first replicate's forget set."""
    first = first_replicate(run.scenario)
    if run.method == RETRAIN:
        base = replace(run, replicate=first)
        return [replace(base, draw=draw) for draw in range(size, 2 * size)]
    seeds = range(first.seed, first.seed + size)
    return [replace(run, replicate=Replicate(seed, first.forget_seed)) for seed in seeds]


def _reference(run: PlannedRun, method: str) -> PlannedRun:
    return replace(run, method=method, config=None, source="", draw=0)


def _on_half(run: PlannedRun, half: int) -> PlannedRun:
    return replace(run, half=half, replicate=first_replicate(run.scenario), draw=0)


def with_originals(runs: Sequence[PlannedRun]) -> Iterator[PlannedRun]:
    """The runs, each method's after the original that it starts from."""
    for run in runs:
        if run.method not in (ORIGINAL, RETRAIN):
            yield _reference(run, ORIGINAL)
        yield run
