"""Which runs a page shows, and the retrained models that each of them is judged against. Pure.

A page shows one definition of its scenario and one source of each method: the newest that has every
replicate of all the older ones. A run is judged against the very retrained models that it names by
their digests. Where the records hold several machines' models of one replicate, the page's own are
those that most of its rows name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.leaderboard.grouping import (
    ReferenceSet,
    ReplicateKey,
    age,
    grouped,
    hardware_of,
    machine_of,
    replicate_of,
    row_of,
    set_of,
)
from harness.records.lines import FINISHED, Run, problem_key
from harness.specs.scenario import ORIGINAL, REFERENCES, RETRAIN


class Progress(NamedTuple):
    """How far the newest version has come that is to take the place of the one that is shown."""

    done: int
    """The replicates of the version shown that the newest has, too."""
    of: int
    """The replicates of the version shown."""


@dataclass(frozen=True)
class Selection:
    """The runs of one page."""

    rows: Mapping[str, Sequence[Run]]
    """``row_of`` → its runs, in the order of age; of the references only the page's own."""
    retrained: Mapping[ReferenceSet, Sequence[Run]]
    """The K retrained models of every reference set that some row needs."""
    originals: tuple[Run, ...]
    """The originals of these sets."""
    main: Mapping[ReplicateKey, ReferenceSet]
    """The page's own set: the one that most rows are judged against; of several, the oldest."""
    newer_definition: Progress | None
    """Of the scenario; none where the page shows the newest."""
    newer_sources: Mapping[str, Progress]
    """Method → its newest source, where the page shows an older one."""
    unpaired: Mapping[str, int]
    """Method → runs left out because their retrained models are not in the records."""
    repeated: int
    """Runs left out because their row shows another machine's result of the same ``run_id``."""

    @property
    def runs(self) -> tuple[Run, ...]:
        """All of them, each once."""
        shown = [run for row in self.rows.values() for run in row]
        behind = [run for runs in self.retrained.values() for run in runs]
        every = [*shown, *behind, *self.originals]
        return tuple({(run.run_id, run.outcome): run for run in every}.values())

    def behind(self, row: Iterable[Run]) -> list[Run]:
        """Every retrained model that one of these runs is judged against."""
        sets = dict.fromkeys(set_of(run) for run in row)
        return [run for at in sets for run in self.retrained.get(at, ())]

    def elsewhere(self, row: Sequence[Run]) -> str:
        """The hardware of those of its runs that are not judged against the page's own models."""
        foreign = [run for run in row if run.retrained and set_of(run) not in self.main.values()]
        main = {hardware_of(r) for at in self.main.values() for r in self.retrained.get(at, ())}
        names = {hardware_of(run) for run in foreign}
        return "; ".join(
            f"{name}, retrained separately" if name in main else name for name in sorted(names)
        )


def select(runs: Sequence[Run]) -> Selection:
    """What a page shows of the runs of one scenario's name, whatever their order."""
    definitions = grouped(runs, problem_key)
    problem, newer_definition = _shown_version(definitions, lambda run: run.method == RETRAIN)
    candidates, newer_sources = _of_shown_sources(definitions[problem])
    retrained = complete_sets(candidates)
    paired = [run for run in candidates if _has_references(run, retrained)]
    unpaired = Counter(run.method for run in candidates if not _has_references(run, retrained))
    main = _main_sets(paired, retrained)
    rows = _rows(paired, main)
    needed = {*main.values(), *(set_of(run) for row in rows.values() for run in row)}
    used = {at: retrained[at] for at in needed if at in retrained}
    return Selection(
        rows=rows,
        retrained=used,
        originals=tuple(r for r in paired if r.method == ORIGINAL and set_of(r) in used),
        main=main,
        newer_definition=newer_definition,
        newer_sources=newer_sources,
        unpaired=unpaired,
        repeated=_repeated(paired, rows),
    )


def _of_shown_sources(runs: Sequence[Run]) -> tuple[list[Run], dict[str, Progress]]:
    """Of each method the runs of one source, in the order of age; and which have a newer one."""
    shown: list[Run] = []
    newer: dict[str, Progress] = {}
    for method, own in sorted(grouped(runs, lambda run: run.method).items()):
        sources = grouped(own, lambda run: run.source)
        source, progress = _shown_version(sources, lambda _: True)
        shown += sources[source]
        if progress is not None:
            newer[method] = progress
    return sorted(shown, key=age), newer


def _shown_version(
    versions: Mapping[str, Sequence[Run]], counts: Callable[[Run], bool]
) -> tuple[str, Progress | None]:
    """The newest version that has every replicate of all the older ones; and what is newer.

    A version has the replicates of those of its runs that count.
    """
    replicates = {
        name: {replicate_of(run) for run in own if counts(run)} for name, own in versions.items()
    }
    by_age = sorted(versions, key=lambda name: max(map(age, versions[name])))
    newest = by_age[-1]
    shown = by_age[0]
    of_older: set[ReplicateKey] = set()
    for name in by_age:
        if of_older <= replicates[name]:
            shown = name
        of_older |= replicates[name]
    if shown == newest:
        return shown, None
    done = replicates[newest] & replicates[shown]
    return shown, Progress(len(done), len(replicates[shown]))


def complete_sets(runs: Iterable[Run]) -> dict[ReferenceSet, list[Run]]:
    """The sets of which every retrained model is there, each model once, in the order of draws."""
    found: dict[ReferenceSet, dict[int, Run]] = defaultdict(dict)
    for run in runs:
        if run.method == RETRAIN:
            found[set_of(run)][run.draw] = run
    return {
        at: [draws[draw] for draw in sorted(draws)]
        for at, draws in found.items()
        if not at[2] or Counter(run.digest for run in draws.values()) == Counter(at[2])
    }


def _has_references(run: Run, retrained: Mapping[ReferenceSet, object]) -> bool:
    """Whether it can be judged; a run without a gap, or without digests, needs no more."""
    return not run.retrained or run.status != FINISHED or set_of(run) in retrained


def _main_sets(
    runs: Iterable[Run], retrained: Mapping[ReferenceSet, Sequence[Run]]
) -> dict[ReplicateKey, ReferenceSet]:
    judged: dict[ReferenceSet, set[str]] = defaultdict(set)
    for run in runs:
        if run.method not in REFERENCES:
            judged[set_of(run)].add(row_of(run))
    oldest = {at: min(age(run) for run in draws) for at, draws in retrained.items()}
    main: dict[ReplicateKey, ReferenceSet] = {}
    for at in sorted(retrained, key=lambda each: (-len(judged[each]), oldest[each])):
        main.setdefault(at[0], at)
    return main


def _rows(runs: Iterable[Run], main: Mapping[ReplicateKey, ReferenceSet]) -> dict[str, list[Run]]:
    """Row → its runs, of each replicate and draw one, as far as possible of one machine."""
    rows = {}
    for key, own in sorted(grouped(runs, row_of).items()):
        preference = _Preference(own, main)
        chosen = []
        for made in grouped(own, lambda run: (replicate_of(run), run.draw)).values():
            newest = max(made, key=age).run_id
            same = [run for run in made if run.run_id == newest and not _is_foreign(run, main)]
            if same:
                chosen.append(min(same, key=preference.key))
        if chosen:
            rows[key] = sorted(chosen, key=age)
    return rows


def _is_foreign(run: Run, main: Mapping[ReplicateKey, ReferenceSet]) -> bool:
    """Whether it is a reference, and not one of the page's own."""
    return run.method in REFERENCES and set_of(run) != main.get(replicate_of(run), set_of(run))


class _Preference:
    """Which of several machines' runs of one replicate a row shows.

    First the machine with the most replicates of the row counts, then the one with the most runs
    beside the page's own references, then the earliest.
    """

    def __init__(self, row: Iterable[Run], main: Mapping[ReplicateKey, ReferenceSet]) -> None:
        self._main = main
        self._machines: dict[str, tuple[Hashable, ...]] = {
            name: (
                -len({replicate_of(run) for run in own}),
                -sum(set_of(run) in main.values() for run in own),
                min(age(run) for run in own),
            )
            for name, own in grouped(row, machine_of).items()
        }

    def key(self, run: Run) -> tuple[object, ...]:
        """A sort key: the least is shown."""
        on_main = set_of(run) == self._main.get(replicate_of(run))
        return (*self._machines[machine_of(run)], not on_main, age(run))


def _repeated(runs: Iterable[Run], rows: Mapping[str, Sequence[Run]]) -> int:
    """How many runs give way to another machine's of the same ``run_id``."""
    shown = {run.run_id: run.outcome for row in rows.values() for run in row}
    return sum(
        run.method not in REFERENCES and shown.get(run.run_id, run.outcome) != run.outcome
        for run in runs
    )
