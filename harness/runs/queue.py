"""Which steps of a plan can be done now, in the order of interest."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping

from harness.runs.plan import Plan, Step

At = tuple[str, str]
"""A step's place in the store: (kind, key)."""


class Schedule:
    """The steps of a plan that are not done yet; each is given out once all its needs are there.

    The plan's order is the order of interest: of all steps that can be done the first is given.
    """

    def __init__(self, plan: Plan) -> None:
        self.steps: Mapping[At, Step] = {step.at: step for step in plan.steps}
        self._order = [*self.steps]
        self._rank = {at: rank for rank, at in enumerate(self._order)}
        self._dependents: dict[At, list[At]] = defaultdict(list)
        for step in self.steps.values():
            for need in step.needs:
                self._dependents[need].append(step.at)
        self._left = set(self._order)
        self._queue: list[int] = []
        self._offered: set[At] = set()
        """In the queue, or given out."""
        for at in self._order:
            self._offer(at)

    def __bool__(self) -> bool:
        return bool(self._left)

    def take(self) -> Step | None:
        """The first step that can be done; none where all wait for others."""
        while self._queue:
            at = self._order[heapq.heappop(self._queue)]
            if self._is_ready(at):
                return self.steps[at]
            self._offered.discard(at)
        return None

    def put_back(self, step: Step) -> None:
        """Takes back a step that was not done."""
        self._offered.discard(step.at)
        self._offer(step.at)

    def finish(self, at: At) -> None:
        """Notes that a step is done."""
        self._left.discard(at)
        for dependent in self._dependents[at]:
            self._offer(dependent)

    def give_up(self, at: At) -> None:
        """Notes that a step failed, and with it all that build on it."""
        doomed = [at]
        while doomed:
            at = doomed.pop()
            if at in self._left:
                self._left.discard(at)
                doomed += self._dependents[at]

    def renew(self, at: At) -> None:
        """Notes that a step that was done is to be done again."""
        self._left.add(at)
        self._offered.discard(at)
        self._offer(at)

    def _offer(self, at: At) -> None:
        if at not in self._offered and self._is_ready(at):
            self._offered.add(at)
            heapq.heappush(self._queue, self._rank[at])

    def _is_ready(self, at: At) -> bool:
        return at in self._left and not any(need in self._left for need in self.steps[at].needs)
