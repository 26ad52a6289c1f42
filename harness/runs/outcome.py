"""Runs a plan with as many processes as the machine has cores; nothing done is done again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from harness.runs.plan import Plan, Step
from harness.runs.pool import Means, work
from harness.runs.steps import Bench
from harness.runs.worker import DONE, FAILED, Event, Report


@dataclass
class Outcome:
    """What became of a plan; it grows with the events."""

    done: Counter[str] = field(default_factory=Counter)
    """Kind of step → how many of them this command did."""
    failures: dict[tuple[str, str], Event] = field(default_factory=dict)
    """(method or protocol, reason) → the first of its events."""
    left: int = 0
    """Steps whose results are not there in the end."""


def run(plan: Plan, bench: Bench, means: Means, report: Report) -> Outcome:
    """Does all steps of the plan: in processes of their own, or with 0 workers in this one.

    A method that fails is reported, and the other rows go on, also where it ends its process.
    Ctrl-C stops at once and loses nothing but the steps under way. Raises UserError where a result
    cannot be written.
    """
    outcome = Outcome()
    by_place = {step.at: step for step in plan.steps}

    def tell(event: Event) -> None:
        _count(event, outcome, by_place)
        report(event)

    work(plan, bench, tell, means)
    outcome.left = sum(not bench.store.has(*step.at) for step in plan.steps)
    return outcome


def _count(event: Event, outcome: Outcome, steps: dict[tuple[str, str], Step]) -> None:
    if event.what == DONE:
        outcome.done[event.kind] += 1
    elif event.what == FAILED:
        step = steps[event.at]
        at_fault = step.protocol.name if step.protocol else step.row.method
        outcome.failures.setdefault((at_fault, event.reason), event)
