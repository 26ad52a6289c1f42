"""Joins a store's lines to the published ones: what comes in, what stays, what is left out. Pure.

A run of the store replaces the published one of its ``run_id`` if both were made on the same
hardware and measured against the same references; other machines' lines stay as they are. New runs
come in, with the very references that they name. Anything beyond that has to be asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from harness.leaderboard.grouping import Age, ReferenceSet, ReplicateKey, age, hardware_of, set_of
from harness.leaderboard.replacing import Place, Replacement, place_of
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
    problem_key,
)
from harness.specs.published import Published
from harness.specs.scenario import REFERENCES, RETRAIN


class Joined(NamedTuple):
    """The records that are to be published."""

    lines: list[Line]
    left_out: list[str]
    """A sentence for each method and scenario of which something is left out."""


Background = tuple[str, ReferenceSet]
"""The problem that references belong to, and their set."""


def join(
    published: Collection[Line],
    stored: Collection[Line],
    replace: Collection[str] = (),
    unread: Collection[str] = (),
) -> Joined:
    """The published lines with the store's.

    For the methods and scenarios in ``replace``, the store's newest runs take the place of the
    published ones, whatever their number, source or machine. ``unread`` names runs whose line a
    newer version wrote; their measurements stay. Raises UserError for a name that the store lacks.
    """
    theirs = [line for line in published if isinstance(line, Run)]
    ours = sorted((line for line in stored if isinstance(line, Run)), key=age)
    if replace:
        replacement = Replacement.asked(replace, ours)
        theirs, ours = replacement.of_published(theirs), replacement.of_stored(ours)
    records = _Records(theirs)
    for run in ours:
        if run.method not in REFERENCES:
            records.offer(run)
    needed = {_background(run) for run in records.kept.values() if run.method not in REFERENCES}
    for run in ours:
        if run.method in REFERENCES:
            records.offer(run, needed=_background(run) in needed)
    records.prune(needed)
    lines = _with_measurements(records, published, stored, unread)
    return Joined(lines, [*_left_out(records.left), *_unpaired(records.kept.values())])


def _with_measurements(
    records: _Records,
    published: Collection[Line],
    stored: Collection[Line],
    unread: Collection[str],
) -> list[Line]:
    """All lines; of two measurements of one run, the one stands that came with the run's line."""
    kept, taken = records.kept, records.taken
    theirs, ours = (
        [line for line in lines if isinstance(line, Measurement) and identity_of(line) in kept]
        for lines in (published, stored)
    )
    orphans = [x for x in published if isinstance(x, Measurement) and x.run_id in unread]
    others = [x for x in (*published, *stored) if isinstance(x, Undefined | Definition | Published)]
    return merge(
        (line for line in ours if identity_of(line) not in taken),
        [*theirs, *orphans, *others, *kept.values()],
        (line for line in ours if identity_of(line) in taken),
    )


def _background(run: Run) -> Background:
    return problem_key(run), set_of(run)


class _Verdict(NamedTuple):
    """What becomes of a run of the store."""

    comes_in: bool
    instead_of: Sequence[Run] = ()
    reason: str = ""
    """Why it is left out; empty where there is nothing to tell."""


class _Records:
    """The published runs, as those of a store are offered to them."""

    def __init__(self, theirs: Sequence[Run]) -> None:
        self.kept = {identity_of(run): run for run in theirs}
        self.taken: set[tuple[str, str]] = set()
        """Those that came from the store."""
        self.left: list[tuple[Run, str]] = []
        """Those that did not come in, and why."""
        self._published: dict[str, list[Run]] = defaultdict(list)
        self._definitions: dict[str, dict[str, Age]] = defaultdict(dict)
        """Scenario → problem → age of its newest run."""
        self._sources: dict[tuple[str, str], dict[str, Age]] = defaultdict(dict)
        """Problem and method → source → age of its newest run."""
        for run in sorted(theirs, key=age):
            self._published[run.run_id].append(run)
            self._definitions[place_of(run)[1]][problem_key(run)] = age(run)
            self._sources[problem_key(run), run.method][run.source] = age(run)

    def offer(self, run: Run, *, needed: bool = True) -> None:
        """Takes the run in, or notes why not.

        References are ``needed`` if a run that is kept was measured against them.
        """
        comes_in, instead_of, reason = self._verdict(run, needed=needed)
        if comes_in:
            for each in instead_of:
                self.kept.pop(identity_of(each), None)
            self.kept[identity_of(run)] = run
            self.taken.add(identity_of(run))
        elif reason:
            self.left.append((run, reason))

    def _verdict(self, run: Run, *, needed: bool) -> _Verdict:
        there = self._published[run.run_id]
        made = [each for each in there if each.status != FAILED]
        same = next((each for each in there if _is_same_result(each, run)), None)
        if same is not None:
            return _Verdict(_is_newer_there(run, same), [same])
        if not made:
            return self._verdict_on_new(run, there)
        if run.status == FAILED:
            reason = "they failed here, but the records hold results of them from elsewhere"
            return _Verdict(comes_in=False, reason=reason)
        if run.method in REFERENCES:
            return _Verdict(needed, reason=_difference(run, made[-1]))
        rival = next((each for each in made if set_of(each) == set_of(run)), None)
        if rival is not None and _is_newer_there(run, rival):
            return _Verdict(comes_in=True, instead_of=[rival])
        return _Verdict(comes_in=False, reason=_difference(run, rival or made[-1]))

    def _verdict_on_new(self, run: Run, failed: Sequence[Run]) -> _Verdict:
        """On a run that the records lack, or of which they hold only failures."""
        if _is_behind(run, problem_key(run), self._definitions[place_of(run)[1]]):
            reason = "the records hold a later definition of the scenario"
            return _Verdict(comes_in=False, reason=reason)
        sources = self._sources[problem_key(run), run.method]
        if run.method not in REFERENCES and _is_behind(run, run.source, sources):
            return _Verdict(comes_in=False, reason="the records hold a later source of the method")
        return _Verdict(comes_in=True, instead_of=failed)

    def prune(self, needed: Collection[Background]) -> None:
        """Drops references that no run names, unless their replicate would be left without any.

        Then the oldest set stays.
        """
        references = [run for run in self.kept.values() if run.method in REFERENCES]
        oldest_first = dict.fromkeys(_background(run) for run in sorted(references, key=age))
        of_replicate: dict[tuple[str, ReplicateKey], list[Background]] = defaultdict(list)
        for problem, references_set in oldest_first:
            replicate = references_set[0]
            of_replicate[problem, replicate].append((problem, references_set))
        stay: set[Background] = set()
        for sets in of_replicate.values():
            stay |= {*sets} & {*needed} or {sets[0]}
        for run in references:
            if _background(run) not in stay:
                del self.kept[identity_of(run)]


def _is_same_result(run: Run, other: Run) -> bool:
    """Whether both failed, or both came to the same numbers beside the same references."""
    return run.outcome == other.outcome and (run.status == FAILED) == (other.status == FAILED)


def _is_newer_there(run: Run, than: Run) -> bool:
    """Whether it was made again on the same hardware."""
    return hardware_of(run) == hardware_of(than) and age(run) > age(than)


def _is_behind(run: Run, version: str, published: Mapping[str, Age]) -> bool:
    """Whether its version is not among the published ones, and older than the newest of them."""
    return bool(published) and version not in published and age(run) < max(published.values())


def _difference(run: Run, than: Run) -> str:
    """Why two runs of one ``run_id`` came to different numbers."""
    here, there = hardware_of(run), hardware_of(than)
    if here != there:
        return f"the records hold them from {there}, with other numbers; these are from {here}"
    packages = run.circumstances["packages"]
    others = than.circumstances["packages"]
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
    """A sentence for each method and scenario; on references only where no method is named."""
    reasons: dict[Place, list[str]] = defaultdict(list)
    for run, reason in left:
        reasons[place_of(run)].append(reason)
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
    there: dict[Background, set[str]] = defaultdict(set)
    for run in runs:
        if run.method == RETRAIN:
            there[_background(run)].add(run.digest)
    lost = Counter(
        place_of(run)
        for run in runs
        if run.status == FINISHED and not {*run.retrained} <= there.get(_background(run), set())
    )
    for (method, scenario), count in sorted(lost.items()):
        yield (
            f"not shown: {count} runs of {method} in {scenario}: the retrained models that they "
            f"were measured against are neither in the records nor in the store"
        )
