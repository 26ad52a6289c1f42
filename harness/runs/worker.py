"""Does one step of a plan, and tells how it went."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Container
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from harness.errors import UserError
from harness.records.store import CorruptionError, Store, StoreError
from harness.runs.entrants import Request, entrants, wanted_scenarios
from harness.runs.environment import commit
from harness.runs.lineage import broken
from harness.runs.plan import Plan, Step, make_plan
from harness.runs.steps import Bench, EditedError
from harness.specs.catalog import Catalog
from harness.terminal import one_line

STARTED, DONE, FAILED, BROKEN = "started", "done", "failed", "broken"
RUNNING, WAITING, CHANGED = "running", "waiting", "changed"
UNWRITTEN, UNREADABLE = "unwritten", "unreadable"
"""How a step ended that its parent has to look into: the store may be at fault."""

EDITED = EditedError.__name__
"""The cause of a failure that says nothing of the method, and leaves no record."""

LONGEST = 50_000
"""Characters of a failure's text that are told: the last ones."""

TERMINAL = {
    "BdbQuit": "a debugger needs a terminal, which this process lacks; use --workers 0",
    "EOFError": "input() needs a terminal, which this process lacks; use --workers 0",
}
"""What is added to an exception that stands for a missing terminal."""


@dataclass(frozen=True)
class Event:
    """Something that happened to one step."""

    what: str
    kind: str = ""
    key: str = ""
    seconds: float = 0.0
    text: str = ""
    """The traceback of a failure, or what is broken; one line where the user can mend it."""
    reason: str = ""
    """A failure in one line."""
    cause: str = ""
    """The name of the exception behind a failure; empty where there was none."""
    mistake: bool = False
    """Whether the failure is the user's to mend."""
    size: int = 0
    """Bytes that could not be written."""

    @property
    def at(self) -> tuple[str, str]:
        """The step's place in the store."""
        return self.kind, self.key


Report = Callable[[Event], None]


def prepare(request: Request, catalog: Catalog) -> tuple[Bench, Plan]:
    """The bench and the plan that a request means.

    The data are read, on the CPU, and hashed. Nothing else is computed here, and that by one
    thread: a process that is forked from one with OpenMP threads can hang.
    """
    torch.set_num_threads(1)
    problems = [
        (scenario, replicates, entrants(request, catalog, scenario.name))
        for scenario, replicates in wanted_scenarios(request, catalog)
    ]
    device = torch.device(request.device)
    bench = Bench(Store(Path(request.store)), catalog, Path(request.data), device)
    materials = {problem.dataset: bench.material(problem.dataset) for problem, _, _ in problems}
    for scenario, replicates, _ in problems:
        materials[scenario.dataset].require_rows(scenario, replicates)
    fingerprints = {name: material.fingerprint for name, material in materials.items()}
    classes = {name: material.train.classes for name, material in materials.items()}
    commit()  # of the code as it was loaded
    return bench, make_plan(problems, catalog, fingerprints, classes)


def attempt(step: Step, bench: Bench, plan: Plan, most_passes: float) -> Event:
    """Does the step, and tells how that ended.

    A plugin may raise anything, SystemExit too: that is the row's failure. In the command's own
    process KeyboardInterrupt is Ctrl-C and goes on.
    """
    start = time.perf_counter()
    try:
        changed = bench.do(step, most_passes=most_passes, edited=lambda: plan.edited(step.row))
    except CorruptionError as error:
        return Event(UNREADABLE, *step.at, text=_traceback(), reason=brief(error))
    except StoreError as error:
        return Event(UNWRITTEN, *step.at, text=str(error), reason=str(error), size=error.size)
    except UserError as error:
        text, cause = str(error) or repr(error), EDITED if isinstance(error, EditedError) else ""
        reason = brief(error)
        return Event(FAILED, *step.at, text=text, reason=reason, cause=cause, mistake=True)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not bench.isolated:
            raise
        return _failed(step, error)
    return Event(DONE, *step.at, seconds=time.perf_counter() - start, text=changed)


def attempt_apart(
    step: Step, bench: Bench, plan: Plan, most_passes: float, threads: int
) -> dict[str, Any]:
    """Does the step in a process that was forked for it; the event's fields."""
    bench.store.let_go()
    bench.isolated = True
    torch.set_num_threads(threads)
    return asdict(attempt(step, bench, plan, most_passes))


def _failed(step: Step, error: BaseException) -> Event:
    cause = type(error).__name__
    return Event(FAILED, *step.at, text=_traceback(), reason=brief(error), cause=cause)


def _traceback() -> str:
    return traceback.format_exc()[-LONGEST:]


def brief(error: BaseException) -> str:
    """An exception in one printable line."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # a stranger's __str__
        lines = []
    name = type(error).__name__
    text = " ".join([*lines[:1], TERMINAL.get(name, "")]).strip() or "no message"
    return one_line(text if isinstance(error, UserError) else f"{name}: {text}")[:500]


def death(step: Step, epitaph: str) -> Event:
    """The failure of a step whose process ended before it did."""
    text = f"{epitaph}; the same command tries this again"
    return Event(FAILED, *step.at, text=text, reason=epitaph)


def mend(
    step: Step, store: Store, tell: Report, steps: Container[tuple[str, str]], event: Event
) -> None:
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
        text = f"{lost[0]}; `unlearn run` makes it anew"
        tell(Event(FAILED, *step.at, text=text, reason=text))
    elif not faulty:
        tell(Event(FAILED, *step.at, text=event.text, reason=event.reason))
