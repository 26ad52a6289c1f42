"""One process that does whatever steps of a plan are free, and tells what it does."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Container, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import torch

from harness.bench import Bench
from harness.errors import UserError
from harness.lineage import broken
from harness.plan import Plan, Step, make_plan
from harness.plugins import load_catalog
from harness.request import Request, entrants, wanted_scenarios
from harness.specs import Catalog
from harness.store import CorruptionError, Store, StoreError

STARTED, DONE, FAILED, BROKEN = "started", "done", "failed", "broken"
STOPPED = "stopped"
"""The whole run cannot go on; the event names no step."""
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Event:
    """Something that happened to one step."""

    what: str
    kind: str = ""
    key: str = ""
    seconds: float = 0.0
    text: str = ""
    """The traceback of a failure, or what is broken; one line where the user can mend it."""
    mistake: bool = False
    """Whether the failure is the user's to mend."""

    @property
    def at(self) -> tuple[str, str]:
        """The step's place in the store."""
        return self.kind, self.key


Report = Callable[[Event], None]


def prepare(request: Request, catalog: Catalog) -> tuple[Bench, Plan]:
    """The bench and the plan that a request means; every process of it makes the same."""
    device = torch.device(request.device)
    if device.type == "cpu":
        torch.set_num_threads(request.threads)
    problems = [
        (scenario, replicates, entrants(request, catalog, scenario.name))
        for scenario, replicates in wanted_scenarios(request, catalog)
    ]
    bench = Bench(Store(Path(request.store)), catalog, Path(request.data), device)
    materials = {problem.dataset: bench.material(problem.dataset) for problem, _, _ in problems}
    for scenario, replicates, _ in problems:
        materials[scenario.dataset].require_rows(scenario, replicates)
    fingerprints = {name: material.fingerprint for name, material in materials.items()}
    classes = {name: material.train.classes for name, material in materials.items()}
    return bench, make_plan(problems, catalog, fingerprints, classes)


def work(plan: Plan, bench: Bench, report: Report, given_up: set[tuple[str, str]]) -> None:
    """Does every step that nobody else does, until all are done or hang on one given up.

    ``given_up`` holds the (kind, key) of steps that failed here or elsewhere; it may grow from
    another thread. Raises StoreError where a result cannot be written.
    """
    steps = {step.at: step for step in plan.steps}
    pending = dict(steps)

    tell = _noting(report, steps, pending, given_up)
    while pending:
        for step in list(pending.values()):
            if step.at in given_up or any(need in given_up for need in step.needs):
                given_up.add(step.at)
                del pending[step.at]
            elif any(need in pending for need in step.needs):
                continue
            elif bench.store.has(*step.at):
                del pending[step.at]
            elif _attempt(step, bench, tell, steps):
                break  # the plan's order is the order of interest: look again from its start
        else:
            time.sleep(POLL_SECONDS)


def _noting(
    report: Report,
    steps: Mapping[tuple[str, str], Step],
    pending: dict[tuple[str, str], Step],
    given_up: set[tuple[str, str]],
) -> Report:
    """A report that also gives up what failed, and takes up again what broke."""

    def tell(event: Event) -> None:
        if event.what == FAILED:
            given_up.add(event.at)
        elif event.what == BROKEN:
            pending[event.at] = steps[event.at]
        report(event)

    return tell


def _attempt(step: Step, bench: Bench, tell: Report, steps: Container[tuple[str, str]]) -> bool:
    """Does the step unless another process is at it; whether it was this one's.

    A plugin may raise anything, SystemExit too: the other rows go on.
    """
    with bench.store.lock(*step.at) as mine:
        if not mine or bench.store.has(*step.at):
            return False
        tell(Event(STARTED, *step.at))
        start = time.perf_counter()
        try:
            bench.do(step)
        except CorruptionError:
            _mend(step, bench.store, tell, steps)
        except StoreError:
            raise
        except UserError as error:
            tell(Event(FAILED, *step.at, text=str(error) or repr(error), mistake=True))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and not _deaf():
                raise  # Ctrl-C
            tell(Event(FAILED, *step.at, text=traceback.format_exc()))
        else:
            tell(Event(DONE, *step.at, seconds=time.perf_counter() - start))
    return True


def _mend(step: Step, store: Store, tell: Report, steps: Container[tuple[str, str]]) -> None:
    """Throws away the broken results that a step builds on; it fails where none can be remade.

    ``steps`` holds those that this plan makes.
    """
    faulty = broken(step, store)
    lost = [fault for need, fault in faulty.items() if need not in steps]
    for need, fault in faulty.items():
        if need in steps:
            store.discard(*need)
            tell(Event(BROKEN, *need, text=fault))
    if lost:
        tell(Event(FAILED, *step.at, text=f"{lost[0]}; `unlearn run` makes it anew"))
    elif not faulty:
        tell(Event(FAILED, *step.at, text=traceback.format_exc()))


def _deaf() -> bool:
    """Whether this process ignores Ctrl-C, so that a KeyboardInterrupt is a plugin's own."""
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def main() -> None:
    """Reads a request and the steps given up from standard input, writes an event a line.

    Further lines of the input name steps that failed elsewhere; its end means that the parent is
    gone, and this process goes too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    channel = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # a plugin's print must not come between the events
    request = Request(**{k: _frozen(v) for k, v in json.loads(sys.stdin.readline()).items()})
    given_up = {(kind, key) for kind, key in json.loads(sys.stdin.readline())}
    threading.Thread(target=_listen, args=(sys.stdin, given_up), daemon=True).start()

    def report(event: Event) -> None:
        print(json.dumps(asdict(event)), file=channel)

    try:
        bench, plan = prepare(request, load_catalog(request.plugins))
        work(plan, bench, report, given_up)
    except UserError as error:
        report(Event(STOPPED, text=str(error)))
    channel.close()
    os._exit(0)  # the listening thread would hold up an ordinary exit


def _listen(lines: IO[str], given_up: set[tuple[str, str]]) -> None:
    for line in lines:
        kind, key = json.loads(line)
        given_up.add((kind, key))
    os._exit(1)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


if __name__ == "__main__":
    main()
