"""Takes a store's lines into the published ones: what comes in, what stays, what is left out. Pure.

A run of the store takes the place of the published one of its ``run_id`` where both are of the same
hardware and were measured against the same references; other machines' lines stay as they are. What
is new comes in, with the very references that it names. Replacing is for those who ask for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from harness.errors import UserError, unknown
from harness.leaderboard.grouping import ReferenceSet, age, hardware_of, problem_of, set_of
from harness.records.lines import (
    FAILED,
    FINISHED,
    Definition,
    Line,
    Measurement,
    Run,
    Undefined,
    identity_of,
    merge,
)
from harness.specs.scenario import REFERENCES, RETRAIN

ALL = "all"
"""What ``--replace`` calls every method and scenario of the store."""


class Joined(NamedTuple):
    """The records that are to be published."""

    lines: list[Line]
    left_out: list[str]
    """A sentence for each method and scenario of which something is left out."""


def join(
    published: Collection[Line],
    stored: Collection[Line],
    replace: Collection[str] = (),
    unread: Collection[str] = (),
) -> Joined:
    """The published lines with the store's.

    Of the methods and scenarios in ``replace`` the store's newest runs take the place of the
    published ones whatever their number, source or machine. ``unread`` names runs whose line a
    newer version wrote; their measurements stay. Raises UserError for a name that the store lacks.
    """
    theirs, ours = _runs(published), _runs(stored)
    theirs, ours = _replaced(theirs, ours, replace)
    records = _Records(theirs)
    for run in sorted(ours, key=age):
        if run.method not in REFERENCES:
            records.offer(run)
    needed = {_references_of(run) for run in records.kept.values() if run.method not in REFERENCES}
    for run in sorted(ours, key=age):
        if run.method in REFERENCES:
            records.offer(run, needed=_references_of(run) in needed)
    records.prune(needed)
    kept, taken = records.kept, records.taken
    measured = [
        [line for line in lines if isinstance(line, Measurement) and identity_of(line) in kept]
        for lines in (stored, published)
    ]
    orphans = [x for x in published if isinstance(x, Measurement) and x.run_id in unread]
    undefined = [x for x in (*published, *stored) if isinstance(x, Undefined | Definition)]
    lines = merge(
        (line for line in measured[0] if identity_of(line) not in taken),
        [*measured[1], *orphans, *undefined, *kept.values()],
        (line for line in measured[0] if identity_of(line) in taken),
    )
    return Joined(lines, [*_left_out(records.left), *_unpaired(kept.values())])


def _runs(lines: Iterable[Line]) -> list[Run]:
    return [line for line in lines if isinstance(line, Run)]


def _references_of(run: Run) -> tuple[str, ReferenceSet]:
    return problem_of(run), set_of(run)


def _replaced(
    theirs: list[Run], ours: list[Run], names: Collection[str]
) -> tuple[list[Run], list[Run]]:
    """Both, less what the store's newest runs of these methods and scenarios take the place of."""
    methods = {run.method for run in ours} - {*REFERENCES}
    scenarios = {run.scenario.name for run in ours}
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
    newest = {run.scenario.name: problem_of(run) for run in sorted(ours, key=age)}

    def stays(run: Run) -> bool:
        """Whether it is of the definition that is to stand."""
        name = run.scenario.name
        return name not in wanted & scenarios or problem_of(run) == newest.get(name)

    ours, theirs = [r for r in ours if stays(r)], [r for r in theirs if stays(r)]
    last = {_place(run): (problem_of(run), run.source) for run in sorted(ours, key=age)}
    return (
        [run for run in theirs if run.method not in wanted or _place(run) not in last],
        [
            run
            for run in ours
            if run.method not in wanted or (problem_of(run), run.source) == last[_place(run)]
        ],
    )


def _place(run: Run) -> tuple[str, str]:
    return run.method, run.scenario.name


class _Records:
    """The published runs, as those of a store are offered to them."""

    def __init__(self, theirs: Sequence[Run]) -> None:
        self.kept = {identity_of(run): run for run in theirs}
        self.taken: set[tuple[str, str]] = set()
        """Those that came from the store."""
        self.left: list[tuple[Run, str]] = []
        """Those that did not come in, and why."""
        self._there: dict[str, list[Run]] = defaultdict(list)
        self._problems: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        self._sources: dict[tuple[str, ...], dict[str, tuple[str, str]]] = defaultdict(dict)
        for run in sorted(theirs, key=age):
            self._there[run.run_id].append(run)
            self._problems[run.scenario.name][problem_of(run)] = age(run)
            self._sources[problem_of(run), run.method][run.source] = age(run)

    def offer(self, run: Run, *, needed: bool = True) -> None:
        """Takes the run in, or notes why not; references that no run needs only where none are."""
        there = self._there[run.run_id]
        same = next((each for each in there if each.outcome == run.outcome), None)
        made = [each for each in there if each.status != FAILED]
        if same is not None and (same.status == FAILED) == (run.status == FAILED):
            if _is_newer_there(run, same):
                self._take(run, same)
        elif run.status == FAILED and made:
            self.left.append((run, "they failed here, and the records hold them made elsewhere"))
        elif not made:
            self._take_new(run, there, needed=needed)
        elif run.method in REFERENCES:
            if needed:
                self._take(run)
            else:
                self.left.append((run, _difference(run, made[-1])))
        else:
            rival = next((each for each in made if set_of(each) == set_of(run)), None)
            if rival is not None and _is_newer_there(run, rival):
                self._take(run, rival)
            else:
                self.left.append((run, _difference(run, rival or made[-1])))

    def _take_new(self, run: Run, failed: Sequence[Run], *, needed: bool) -> None:
        problems = self._problems[run.scenario.name]
        sources = self._sources[problem_of(run), run.method]
        if _is_behind(run, problem_of(run), problems):
            self.left.append((run, "the records hold a later definition of the scenario"))
        elif run.method not in REFERENCES and _is_behind(run, run.source, sources):
            self.left.append((run, "the records hold a later source of the method"))
        elif needed or run.method in REFERENCES:
            self._take(run, *failed)

    def _take(self, run: Run, *instead_of: Run) -> None:
        for each in instead_of:
            self.kept.pop(identity_of(each), None)
        self.kept[identity_of(run)] = run
        self.taken.add(identity_of(run))

    def prune(self, needed: Collection[tuple[str, ReferenceSet]]) -> None:
        """Lets go of references that no run names, where others of the same replicate stay."""
        sets: dict[tuple[str, object], dict[tuple[str, ReferenceSet], tuple[str, str]]]
        sets = defaultdict(dict)
        references = [run for run in self.kept.values() if run.method in REFERENCES]
        for run in sorted(references, key=age, reverse=True):
            at = _references_of(run)
            sets[at[0], at[1][0]][at] = age(run)
        stay = {
            at
            for there in sets.values()
            for at in ([each for each in there if each in needed] or [min(there, key=there.get)])  # type: ignore[arg-type]
        }
        for run in references:
            if _references_of(run) not in stay:
                del self.kept[identity_of(run)]


def _is_newer_there(run: Run, than: Run) -> bool:
    """Whether it was made anew on the same hardware."""
    return hardware_of(run) == hardware_of(than) and age(run) > age(than)


def _is_behind(run: Run, name: str, there: dict[str, tuple[str, str]]) -> bool:
    return bool(there) and name not in there and age(run) < max(there.values())


def _difference(run: Run, than: Run) -> str:
    """Why two runs of one ``run_id`` are of other numbers."""
    here, there = hardware_of(run), hardware_of(than)
    if here != there:
        return f"the records hold them from {there}, with other numbers; these are from {here}"
    packages, others = run.circumstances["packages"], than.circumstances["packages"]
    odd = sorted(name for name in packages if packages[name] != others.get(name))
    if odd:
        found = ", ".join(
            f"{name} {others.get(name, 'none')} (here {packages[name]})" for name in odd
        )
        return f"the records hold them made with {found}, with other numbers"
    if set_of(run) == set_of(than):
        return "the records hold later ones of this machine"
    return "the records hold them beside other retrained models of the same hardware"


def _left_out(left: Iterable[tuple[Run, str]]) -> Iterable[str]:
    """A sentence a method and scenario; references only where no method is named."""
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for run, reason in left:
        reasons[_place(run)].append(reason)
    named = {scenario for method, scenario in reasons if method not in REFERENCES}
    for (method, scenario), all_of in sorted(reasons.items()):
        if method in REFERENCES and scenario in named:
            continue
        why = Counter(all_of).most_common(1)[0][0]
        asked = scenario if method in REFERENCES else method
        yield (
            f"left out: {len(all_of)} runs of {method} in {scenario}: {why}; `unlearn leaderboard "
            f"--replace {asked}` takes them instead"
        )


def _unpaired(runs: Collection[Run]) -> Iterable[str]:
    there: dict[tuple[str, ReferenceSet], set[str]] = defaultdict(set)
    for run in runs:
        if run.method == RETRAIN:
            there[_references_of(run)].add(run.digest)
    lost = Counter(
        _place(run)
        for run in runs
        if run.status == FINISHED and not {*run.retrained} <= there.get(_references_of(run), set())
    )
    for (method, scenario), count in sorted(lost.items()):
        yield (
            f"not shown: {count} runs of {method} in {scenario}: the retrained models that they "
            f"were measured against are neither in the records nor in the store"
        )
