"""Which rows enter a page's ranks, on which replicates, and why the others do not. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.leaderboard.clusters import independent
from harness.leaderboard.grouping import ReplicateKey
from harness.leaderboard.ranks import FEWEST_FOR_SETS
from harness.records.lines import BY_HAND, FINISHED, Run


@dataclass(frozen=True)
class Entry:
    """What decides whether a row is admitted to the ranks."""

    key: str
    method: str
    chosen: str
    """How its settings were chosen; empty: the method's defaults."""
    made: frozenset[ReplicateKey]
    """The replicates in which it has a run, whatever came of it."""
    gaps: Mapping[ReplicateKey, float]
    """In percentage points, of the replicates in which all components were measured."""
    fault: str
    """What became of its runs that did not finish; empty where all did."""
    age: tuple[str, str]
    """Of its newest run: the greater, the newer."""

    @property
    def may_enter(self) -> bool:
        """Settings by hand enter no ranks: anybody may try as many as they like."""
        return self.chosen != BY_HAND


@dataclass(frozen=True)
class RankedRows:
    """The rows that are ranked against each other."""

    replicates: frozenset[ReplicateKey]
    """The page's own; empty where no row has a gap."""
    gaps: Mapping[str, Mapping[ReplicateKey, float]]
    """Row → replicate → gap, on these replicates alone."""
    reasons: Mapping[str, str]
    """Row → why it is not one of them."""


def admit(entries: Sequence[Entry]) -> RankedRows:
    """Admits one row a method, on the page's own replicates; every other row gets its reason."""
    page = page_replicates(entries)
    chosen = {each.method: each for each in _by_claim(entries, page)}
    reasons = {each.key: _reason(each, chosen.get(each.method), page) for each in entries}
    gaps = {
        each.key: {at: each.gaps[at] for at in sorted(page)}
        for each in entries
        if not reasons[each.key]
    }
    return RankedRows(page, gaps, {key: reason for key, reason in reasons.items() if reason})


def page_replicates(entries: Iterable[Entry]) -> frozenset[ReplicateKey]:
    """The set of replicates that most methods have; of several the larger, then the lower.

    A method has a set if one of its rows that may enter has gaps on exactly this set, and no fault.
    Sets that are too small for a test count only if there is no other: no number of small rows can
    take the ranks from large ones.
    """
    has: dict[frozenset[ReplicateKey], set[str]] = defaultdict(set)
    for each in entries:
        if each.may_enter and each.gaps and not each.fault:
            has[frozenset(each.gaps)].add(each.method)
    large = [own for own in has if independent(own) >= FEWEST_FOR_SETS]
    return min(
        large or has,
        key=lambda own: (-len(has[own]), -len(own), sorted(own)),
        default=frozenset(),
    )


def _by_claim(entries: Iterable[Entry], page: frozenset[ReplicateKey]) -> list[Entry]:
    """The rows that may enter; of each method the last one has the best claim to its place.

    A complete row has a better claim than any other, whatever came of its runs; then tuned settings
    than defaults, more replicates than fewer, and newer runs than older ones.
    """
    return sorted(
        (each for each in entries if each.may_enter),
        key=lambda e: (page <= e.made, bool(e.chosen), len(page & e.made), e.age, e.key),
    )


def _reason(entry: Entry, chosen: Entry | None, page: frozenset[ReplicateKey]) -> str:
    if entry.fault:
        return entry.fault
    if not entry.may_enter:
        return "set by hand"
    if not page:
        return "no gap"
    if not page <= entry.made:
        return f"has {len(page & entry.made)} of the page's {len(page)} replicates"
    if entry is not chosen:
        tuned = chosen is not None and chosen.chosen and not entry.chosen
        return f"the method enters with {'its tuned' if tuned else 'other'} settings"
    lacking = len(page - entry.gaps.keys())
    return f"no gap in {lacking} of the page's {len(page)} replicates" if lacking else ""


def fault_of(row: Sequence[Run]) -> str:
    """As in ``failed: 4 of 10 (RuntimeError: no memory left)``; empty if all runs finished."""
    counts = Counter(run.status for run in row if run.status != FINISHED)
    told = Counter(run.reason for run in row if run.reason)
    parts = [f"{status}: {n} of {len(row)}" for status, n in sorted(counts.items())]
    if not parts:
        return ""
    first = min(told, key=lambda reason: (-told[reason], reason), default="")
    also = f"; other reasons: {len(told) - 1}" if len(told) > 1 else ""
    return ", ".join(parts) + (f" ({_short(first)}{also})" if first else "")


def _short(text: str, most: int = 100) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
