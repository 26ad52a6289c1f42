"""Hands out the steps of a plan in an order in which they can be done."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping

from harness.records.store import StepId
from harness.runs.plan import Plan, Step


class Queue:
    """The steps of a plan that are not done yet.

    A step is handed out when every step that it needs is done; the first such step in the plan
    comes first.
    """

    def __init__(self, plan: Plan) -> None:
        self.steps: Mapping[StepId, Step] = {step.id: step for step in plan.steps}
        self._order = [*self.steps]
        self._rank = {id_: rank for rank, id_ in enumerate(self._order)}
        self._dependents: dict[StepId, list[StepId]] = defaultdict(list)
        for step in self.steps.values():
            for need in step.needs:
                self._dependents[need].append(step.id)
        self._left = set(self._order)
        self._queue: list[int] = []
        self._offered: set[StepId] = set()
        """The steps in the queue, or handed out."""
        for id_ in self._order:
            self._offer(id_)

    def __bool__(self) -> bool:
        return bool(self._left)

    def take(self) -> Step | None:
        """The first step that can be done; None if every step waits for another."""
        while self._queue:
            id_ = self._order[heapq.heappop(self._queue)]
            if self._is_ready(id_):
                return self.steps[id_]
            self._offered.discard(id_)
        return None

    def put_back(self, step: Step) -> None:
        """Takes back a step that was handed out and not done."""
        self._offered.discard(step.id)
        self._offer(step.id)

    def finish(self, id_: StepId) -> None:
        """Marks a step as done."""
        self._left.discard(id_)
        for dependent in self._dependents[id_]:
            self._offer(dependent)

    def give_up(self, id_: StepId) -> None:
        """Marks a step as failed, with all steps that depend on it."""
        doomed = [id_]
        while doomed:
            id_ = doomed.pop()
            if id_ in self._left:
                self._left.discard(id_)
                doomed += self._dependents[id_]

    def renew(self, id_: StepId) -> None:
        """Queues a finished step again."""
        self._left.add(id_)
        self._offered.discard(id_)
        self._offer(id_)

    def _offer(self, id_: StepId) -> None:
        if id_ not in self._offered and self._is_ready(id_):
            self._offered.add(id_)
            heapq.heappush(self._queue, self._rank[id_])

    def _is_ready(self, id_: StepId) -> bool:
        return id_ in self._left and not any(need in self._left for need in self.steps[id_].needs)
