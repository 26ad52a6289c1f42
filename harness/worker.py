"""One process that does whatever steps of a plan are free, and tells what it does."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import torch

from harness.bench import Bench
from harness.errors import UserError
from harness.plan import Plan, Step, make_plan
from harness.plugins import load_catalog
from harness.request import Request, wanted_methods, wanted_scenarios
from harness.specs import Catalog
from harness.store import CorruptionError, Store

STARTED, DONE, FAILED, BROKEN = "started", "done", "failed", "broken"
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Event:
    """Something that happened to one step."""

    what: str
    kind: str
    key: str
    seconds: float = 0.0
    text: str = ""
    """The traceback of a failure, or what is broken; one line where the user can mend it."""
    mistake: bool = False
    """Whether the failure is the user's to mend."""


Report = Callable[[Event], None]


def prepare(request: Request, catalog: Catalog) -> tuple[Bench, Plan]:
    """The bench and the plan that a request means; every process of it makes the same."""
    device = torch.device(request.device)
    if device.type == "cpu":
        torch.set_num_threads(request.threads)
    scenarios = wanted_scenarios(request, catalog)
    methods = wanted_methods(request, catalog)
    bench = Bench(Store(Path(request.store)), catalog, Path(request.data), device)
    fingerprints = {
        scenario.dataset: bench.material(scenario.dataset).fingerprint for scenario, _ in scenarios
    }
    return bench, make_plan(scenarios, methods, catalog, fingerprints)


def work(plan: Plan, bench: Bench, report: Report, given_up: set[tuple[str, str]]) -> None:
    """Does every step that nobody else does, until all are done or hang on one given up.

    ``given_up`` holds the (kind, key) of steps that failed here or elsewhere; it may grow from
    another thread.
    """
    pending = {step.at: step for step in plan.steps}
    steps = dict(pending)
    while pending:
        for step in list(pending.values()):
            if step.at in given_up or any(need in given_up for need in step.needs):
                given_up.add(step.at)
                del pending[step.at]
            elif any(need in pending for need in step.needs):
                continue
            elif bench.store.has(*step.at):
                del pending[step.at]
            elif _attempt(
                step, bench, report, given_up, lambda at: pending.update({at: steps[at]})
            ):
                break  # the plan's order is the order of interest: look again from its start
        else:
            time.sleep(POLL_SECONDS)


def _attempt(
    step: Step,
    bench: Bench,
    report: Report,
    given_up: set[tuple[str, str]],
    again: Callable[[tuple[str, str]], None],
) -> bool:
    """Does the step unless another process is at it; whether it was this one's."""
    with bench.store.lock(*step.at) as mine:
        if not mine or bench.store.has(*step.at):
            return False
        report(Event(STARTED, *step.at))
        start = time.perf_counter()
        try:
            bench.do(step)
        except CorruptionError:
            if not _mend(step, bench.store, report, again):
                raise
        except UserError as error:
            given_up.add(step.at)
            report(Event(FAILED, *step.at, text=str(error), mistake=True))
        except Exception:  # a plugin's: the other rows go on
            given_up.add(step.at)
            report(Event(FAILED, *step.at, text=traceback.format_exc()))
        else:
            report(Event(DONE, *step.at, seconds=time.perf_counter() - start))
    return True


def _mend(
    step: Step, store: Store, report: Report, again: Callable[[tuple[str, str]], None]
) -> bool:
    """Throws away the broken results that a step builds on; whether there was one."""
    broken = {need: store.fault(*need) for need in step.needs}
    for need, fault in broken.items():
        if fault:
            store.discard(*need)
            again(need)
            report(Event(BROKEN, *need, text=fault))
    return any(broken.values())


def main() -> None:
    """Reads a request from standard input and writes an event a line to standard output.

    Further lines of the input name steps that failed elsewhere; its end means that the parent is
    gone, and this process goes too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    channel = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # a plugin's print must not come between the events
    request = Request(**{k: _frozen(v) for k, v in json.loads(sys.stdin.readline()).items()})
    given_up: set[tuple[str, str]] = set()
    threading.Thread(target=_listen, args=(sys.stdin, given_up), daemon=True).start()
    bench, plan = prepare(request, load_catalog(request.plugins))
    work(plan, bench, lambda event: print(json.dumps(asdict(event)), file=channel), given_up)
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
