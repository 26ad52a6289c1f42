"""Which rows of a page enter its ranks, on which replicates, and why the others do not. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.leaderboard.grouping import ReplicateKey
from harness.leaderboard.ranks import FEWEST_FOR_SETS
from harness.records.lines import FINISHED, Run

BY_HAND = "by hand"
"""How settings were chosen that ``--set`` gave."""


@dataclass(frozen=True)
class Entry:
    """A row as far as its admission to the ranks goes."""

    key: str
    method: str
    chosen: str
    """How its settings were chosen; empty: the method's defaults."""
    made: frozenset[ReplicateKey]
    """Where it has a run, whatever came of it."""
    gaps: Mapping[ReplicateKey, float]
    """In percentage points, where all components were measured."""
    fault: str
    """What became of its runs that did not finish; empty where all did."""
    age: tuple[str, str]
    """Of its newest run: the greater, the newer."""

    @property
    def may_enter(self) -> bool:
        """Settings by hand are anybody's, and as many as one likes: they enter no ranks."""
        return self.chosen != BY_HAND


@dataclass(frozen=True)
class Field:
    """The rows that are ranked against each other."""

    replicates: frozenset[ReplicateKey]
    """The page's own; empty where no row has a gap."""
    gaps: Mapping[str, Mapping[ReplicateKey, float]]
    """Row → replicate → gap, on these replicates alone."""
    reasons: Mapping[str, str]
    """Row → why it is not among them."""


def admit(entries: Sequence[Entry]) -> Field:
    """One row a method, on the page's own replicates; each other row gets its reason."""
    page = page_replicates(entries)
    chosen = {each.method: each for each in _by_claim(entries, page)}
    reasons = {each.key: _reason(each, chosen.get(each.method), page) for each in entries}
    gaps = {
        each.key: {at: each.gaps[at] for at in sorted(page)}
        for each in entries
        if not reasons[each.key]
    }
    return Field(page, gaps, {key: reason for key, reason in reasons.items() if reason})


def page_replicates(entries: Iterable[Entry]) -> frozenset[ReplicateKey]:
    """The set of replicates that the most methods have; of several the larger, then the lower.

    A method has each set on which one of its rows that may enter has gaps and no fault. Sets that
    are too small for a test count only where there is no other, so that no number of small rows
    takes the ranks from large ones.
    """
    has: dict[frozenset[ReplicateKey], set[str]] = defaultdict(set)
    for each in entries:
        if each.may_enter and each.gaps and not each.fault:
            has[frozenset(each.gaps)].add(each.method)
    large = [own for own in has if len(own) >= FEWEST_FOR_SETS]
    return min(
        large or has,
        key=lambda own: (-len(has[own]), -len(own), sorted(own)),
        default=frozenset(),
    )


def _by_claim(entries: Iterable[Entry], page: frozenset[ReplicateKey]) -> list[Entry]:
    """The rows that may enter, the one that stands for its method behind its others.

    A complete row comes before any other, whatever came of its runs; then tuned settings come
    before defaults, more replicates before fewer, and newer runs before older ones.
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
    """As in ``failed: 4 of 10 (RuntimeError: no memory left)``; empty where all runs finished."""
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
