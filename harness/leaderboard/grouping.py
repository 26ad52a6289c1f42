"""What two runs must share to stand in one table, row or replicate, or beside one machine. Pure."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

from harness.records.lines import Run, canonical

Key = TypeVar("Key", bound=Hashable)

ReplicateKey = tuple[int, int]
"""(seed, forget seed)."""
Age = tuple[str, str]
"""A sort key of runs: the greater, the newer."""
ReferenceSet = tuple[ReplicateKey, str, tuple[str, ...]]
"""A replicate, the digest of its original's logits and those of its K retrained models."""


def grouped(runs: Iterable[Run], by: Callable[[Run], Key]) -> dict[Key, list[Run]]:
    """The runs by what they have in common, each group in the order of the runs."""
    groups: dict[Key, list[Run]] = defaultdict(list)
    for run in runs:
        groups[by(run)].append(run)
    return dict(groups)


def row_of(run: Run) -> str:
    """What two runs must have in common to stand in one row: the method and equal settings."""
    return json.dumps([run.method, comparable(run.config)], sort_keys=True)


def comparable(value: Any) -> Any:
    """The same with 1 for 1.0, so that equal settings look alike."""
    if isinstance(value, Mapping):
        return {name: comparable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def replicate_of(run: Run) -> ReplicateKey:
    """The replicate that a run belongs to."""
    return run.replicate.seed, run.replicate.forget_seed


def set_of(run: Run) -> ReferenceSet:
    """The references that a run names; lines without digests share those of their replicate."""
    return replicate_of(run), run.original, run.retrained


def age(run: Run) -> Age:
    """When it finished; runs of one moment are in the order of their ``run_id``."""
    return str(run.circumstances["finished"]), run.run_id


def machine_of(run: Run) -> str:
    """Runs of one machine with the same packages agree, except on a GPU, to the last digit."""
    return canonical([hardware_of(run), run.circumstances["packages"]])


def hardware_of(run: Run) -> str:
    """As a page names it; a CPU with the instruction set that torch may use."""
    facts = run.circumstances
    about = [facts["device"]]
    if facts["device"] == "cpu":
        about += [facts["capability"]] if "capability" in facts else []
        about.append(f"{facts['threads']} thread(s) a process")
    return f"{facts['hardware']} ({', '.join(about)})"


def commonest_hardware(runs: Iterable[Run]) -> str:
    """The hardware of most runs; a page shows the seconds of no other."""
    return Counter(hardware_of(run) for run in runs).most_common(1)[0][0]
