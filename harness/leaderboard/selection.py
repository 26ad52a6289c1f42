"""Which runs stand on a page, and the retrained models that each of them is judged against. Pure.

The newest definition of a scenario stands, and of each method the newest source, as soon as it has
every replicate that the earlier ones have. A run is judged against the very retrained models that
it names by their digests; where the records hold several machines' models of one replicate, the
rows of the page share those that most of its runs name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.leaderboard.keys import (
    ReplicateKey,
    age,
    hardware_of,
    problem_of,
    replicate_of,
    row_of,
)
from harness.records.lines import FINISHED, Run, canonical
from harness.specs.scenario import ORIGINAL, REFERENCES, RETRAIN

ReferenceSet = tuple[ReplicateKey, str, tuple[str, ...]]
"""A replicate, the digest of its original's logits and those of its K retrained models."""


@dataclass(frozen=True)
class Selection:
    """The runs of one page."""

    rows: Mapping[str, Sequence[Run]]
    """(method, settings) → its runs, in the order of replicates; the references' are the main
    ones'."""
    retrained: Mapping[ReferenceSet, Sequence[Run]]
    """The K retrained models of every reference set that some row needs."""
    originals: tuple[Run, ...]
    """The originals of these sets."""
    main: Mapping[ReplicateKey, ReferenceSet]
    """The set that most rows' runs are judged against; of several, the oldest."""
    earlier: Mapping[str, str]
    """Method → where it is of an earlier source than the newest, what there is of that."""
    remarks: tuple[str, ...]
    """Sentences on what else was left out, or is of an earlier definition."""

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
        """The hardware of those of its runs that are not judged against the main references."""
        foreign = [run for run in row if run.retrained and set_of(run) not in self.main.values()]
        main = {hardware_of(r) for at in self.main.values() for r in self.retrained.get(at, ())}
        names = {hardware_of(run) for run in foreign}
        return "; ".join(
            f"{name}, trained anew" if name in main else name for name in sorted(names)
        )


def set_of(run: Run) -> ReferenceSet:
    """The references that a run names; of lines without digests all of its replicate."""
    return replicate_of(run), run.original, run.retrained


def select(runs: Sequence[Run]) -> Selection:
    """What a page shows of the runs of one scenario's name, whatever their order."""
    remarks: list[str] = []
    by_problem = _grouped(runs, problem_of)
    problem, behind = _standing(by_problem, lambda run: run.method == RETRAIN)
    if behind:
        remarks.append(f"This page shows an earlier definition of the scenario: {behind}.")
    candidates, earlier = _of_standing_sources(by_problem[problem])
    retrained = _complete_sets(candidates)
    paired = [run for run in candidates if _has_references(run, retrained)]
    lost = Counter(run.method for run in candidates if not _has_references(run, retrained))
    remarks += [
        f"Left out: {count} runs of `{method}` whose retrained models are not in the records."
        for method, count in sorted(lost.items())
    ]
    main = _main_sets(paired, retrained)
    rows = _rows(paired, main)
    doubled = _doubled(paired, rows)
    if doubled:
        remarks.append(f"Left out: {doubled} runs whose row shows another machine's of them.")
    needed = {*main.values(), *(set_of(run) for row in rows.values() for run in row)}
    used = {at: retrained[at] for at in needed if at in retrained}
    originals = tuple(run for run in paired if run.method == ORIGINAL and set_of(run) in used)
    return Selection(rows, used, originals, main, earlier, tuple(remarks))


def _grouped(runs: Iterable[Run], by: Callable[[Run], str]) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[by(run)].append(run)
    return groups


def _standing(
    groups: Mapping[str, Sequence[Run]], counts: Callable[[Run], bool]
) -> tuple[str, str]:
    """The newest group that has every replicate of each older one; and what is newer, if any."""
    order = sorted(groups, key=lambda name: max(age(run) for run in groups[name]))
    replicates = {n: {replicate_of(r) for r in groups[n] if counts(r)} for n in groups}
    for place in range(len(order) - 1, -1, -1):
        mine = replicates[order[place]]
        if all(replicates[older] <= mine for older in order[:place]):
            break
    newest = replicates[order[-1]] & mine
    text = f"the newest has {len(newest)} of its {len(mine)} replicates"
    return order[place], "" if place == len(order) - 1 else text


def _of_standing_sources(runs: Sequence[Run]) -> tuple[list[Run], dict[str, str]]:
    kept: list[Run] = []
    earlier: dict[str, str] = {}
    for method, own in sorted(_grouped(runs, lambda run: run.method).items()):
        sources = _grouped(own, lambda run: run.source)
        source, behind = _standing(sources, lambda _: True)
        kept += sources[source]
        if behind:
            earlier[method] = f"of an earlier source: {behind}"
    return sorted(kept, key=age), earlier


def _complete_sets(runs: Iterable[Run]) -> dict[ReferenceSet, list[Run]]:
    """The sets of which every retrained model is there, each once."""
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
    """Whether it can be judged; one without a gap, or of before digests, needs no others."""
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


def _rows(runs: Sequence[Run], main: Mapping[ReplicateKey, ReferenceSet]) -> dict[str, list[Run]]:
    """Row → a run a replicate and draw; of several machines' those of one, where it has them."""
    rows: dict[str, list[Run]] = defaultdict(list)
    for key, own in sorted(_grouped(runs, row_of).items()):
        order = _order_of_machines(own, main)
        places: dict[Hashable, list[Run]] = defaultdict(list)
        for run in own:
            places[replicate_of(run), run.draw].append(run)
        for made in places.values():
            newest = max(made, key=age).run_id
            same = [run for run in made if run.run_id == newest and not _is_foreign(run, main)]
            if same:
                rows[key].append(min(same, key=order))
    return {key: sorted(row, key=age) for key, row in rows.items()}


def _doubled(runs: Iterable[Run], rows: Mapping[str, Sequence[Run]]) -> int:
    """How many runs give way to another machine's of the same ``run_id``."""
    shown = {run.run_id: run.outcome for row in rows.values() for run in row}
    return sum(
        run.method not in REFERENCES and shown.get(run.run_id, run.outcome) != run.outcome
        for run in runs
    )


def _is_foreign(run: Run, main: Mapping[ReplicateKey, ReferenceSet]) -> bool:
    """Whether it is a reference, and not one of the page's main ones."""
    return run.method in REFERENCES and set_of(run) != main.get(replicate_of(run), set_of(run))


def _order_of_machines(
    runs: Iterable[Run], main: Mapping[ReplicateKey, ReferenceSet]
) -> Callable[[Run], tuple[object, ...]]:
    """A key: first the machine with most replicates of the row, then with most main references."""
    machines = _grouped(runs, _machine)
    ranks = {
        name: (
            -len({replicate_of(run) for run in own}),
            -sum(set_of(run) in main.values() for run in own),
            min(age(run) for run in own),
        )
        for name, own in machines.items()
    }

    def key(run: Run) -> tuple[object, ...]:
        on_main = set_of(run) == main.get(replicate_of(run))
        return (*ranks[_machine(run)], not on_main, age(run))

    return key


def _machine(run: Run) -> str:
    """Runs of one machine and the same packages, and so, save on a GPU, of the same numbers."""
    return canonical([hardware_of(run), run.circumstances["packages"]])
