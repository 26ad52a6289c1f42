"""What ``unlearn leaderboard --replace`` asks for: which runs make room for which. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import UserError, unknown
from harness.records.lines import Run, problem_key
from harness.specs.scenario import REFERENCES

ALL = "all"
"""Every method and scenario of the store."""

Place = tuple[str, str]
"""A method and the scenario's name."""


def place_of(run: Run) -> Place:
    """Where a run stands: its method, in its scenario."""
    return run.method, run.scenario.name


@dataclass(frozen=True)
class Replacement:
    """What ``--replace`` asks for: the store's newest definition or source, and nothing else."""

    definitions: Mapping[str, str]
    """Scenario that was asked for → its newest problem in the store."""
    sources: Mapping[Place, tuple[str, str]]
    """Method that was asked for, and scenario → its newest problem and source in the store."""

    @classmethod
    def asked(cls, names: Collection[str], ours: Sequence[Run]) -> Replacement:
        """From the runs of the store, the oldest first; UserError for a name that they lack."""
        methods = {run.method for run in ours} - {*REFERENCES}
        scenarios = {scenario for _, scenario in map(place_of, ours)}
        known = {*methods, *scenarios, ALL}
        for name in names:
            if name in REFERENCES:
                raise UserError(
                    f"--replace {name}: references come with the runs that name them; expected a "
                    f"method, a scenario or {ALL!r}"
                )
            if name not in known:
                raise unknown("method or scenario of this store: --replace", name, known)
        wanted = known if ALL in names else {*names}
        # of several runs the last one stands, and so the newest
        newest = {place_of(run)[1]: problem_key(run) for run in ours}
        definitions = {name: problem for name, problem in newest.items() if name in wanted}
        sources = {
            place_of(run): (problem_key(run), run.source)
            for run in ours
            if run.method in wanted and _is_of(run, definitions)
        }
        return cls(definitions, sources)

    def of_published(self, runs: Iterable[Run]) -> list[Run]:
        """Those of them that nothing takes the place of."""
        remaining = [run for run in runs if _is_of(run, self.definitions)]
        return [run for run in remaining if place_of(run) not in self.sources]

    def of_stored(self, runs: Iterable[Run]) -> list[Run]:
        """Those that take a place, or are not concerned."""
        remaining = [run for run in runs if _is_of(run, self.definitions)]
        return [run for run in remaining if self._is_of_newest_source(run)]

    def _is_of_newest_source(self, run: Run) -> bool:
        own = problem_key(run), run.source
        return self.sources.get(place_of(run), own) == own


def _is_of(run: Run, definitions: Mapping[str, str]) -> bool:
    problem = problem_key(run)
    return definitions.get(place_of(run)[1], problem) == problem
