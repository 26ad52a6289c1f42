"""Numbers that a paper prints, and where they stand on our pages."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.specs.checks import Exactly, OrNone, Several, Text, Whole, number_of, settle, shown
from harness.specs.names import check_name

GAP = "gap"
"""Stands for our average gap, where a column names our metric of the same meaning."""

ANY_TEXT = Text(empty=True)


@dataclass(frozen=True)
class Digits:
    """A number as it is printed: text keeps its last zeros."""

    empty: bool = False
    """Whether there may be none."""

    def __str__(self) -> str:
        return "a finite number" + (" or empty" if self.empty else "")

    def take(self, value: Any) -> str:
        """The digits as text."""
        if self.empty and value in ("", None):
            return ""
        text = value if isinstance(value, str) else str(number_of(value))
        # float() would also take 1_000, nan and digits of other scripts
        if not re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?", text):
            raise ValueError
        if not math.isfinite(float(text)):
            raise ValueError
        return text


@dataclass(frozen=True)
class Words:
    """Texts by name."""

    values: Text | Several

    def __str__(self) -> str:
        return f"a mapping from text to {self.values}"

    def take(self, value: Any) -> dict[str, Any]:
        """A dictionary of its own."""
        if not isinstance(value, Mapping):
            raise TypeError
        return {Text().take(name): self.values.take(each) for name, each in value.items()}


@dataclass(frozen=True)
class Paper:
    """A paper, and what holds for all of its numbers."""

    key: str
    """Its arXiv id, or another short name."""
    title: str
    authors: str = ""
    year: int | None = None
    url: str = ""
    otherwise: str = ""
    """What its protocol does otherwise than ours, in sentences."""

    def __post_init__(self) -> None:
        check_name("paper", self.key)
        settle(
            self,
            f"paper {self.key!r}",
            title=Text(),
            authors=ANY_TEXT,
            year=OrNone(Whole(1950, 2200)),
            url=ANY_TEXT,
            otherwise=ANY_TEXT,
        )


@dataclass(frozen=True)
class Column:
    """A metric of a paper's table."""

    metric: str
    title: str
    """With the unit."""
    ours: str = ""
    """Our metric of the same meaning, as ``protocol.metric``, or ``gap``; empty: we have none."""
    part_of: str = ""
    """The metric of the same table that averages this one's distances from the retrained model."""

    def __post_init__(self) -> None:
        what = f"column {self.metric!r}"
        settle(self, what, metric=Text(), title=Text(), ours=ANY_TEXT, part_of=ANY_TEXT)


@dataclass(frozen=True)
class Printed:
    """One number as it is printed."""

    method: str
    """As the paper names it."""
    metric: str
    mean: str
    """The printed digits; a plugin may give a number."""
    sd: str = ""
    n: int | None = None
    """The number of runs; None: not stated."""
    spread: str = ""
    """What the ± is."""
    note: str = ""

    def __post_init__(self) -> None:
        settle(
            self,
            f"number {self.metric!r} of {self.method!r}",
            method=Text(),
            metric=Text(),
            mean=Digits(),
            sd=Digits(empty=True),
            n=OrNone(Whole(1)),
            spread=ANY_TEXT,
            note=ANY_TEXT,
        )

    @property
    def value(self) -> float:
        """The mean as a number."""
        return float(self.mean)


@dataclass(frozen=True)
class Published:
    """A paper's table on one problem; several tables on it may be one."""

    paper: Paper
    table: str
    """As in ``T1``, or ``T1+T2``."""
    dataset: str
    problem: str
    """The network and what is forgotten, in the paper's words."""
    columns: tuple[Column, ...]
    numbers: tuple[Printed, ...]
    scenarios: Mapping[str, str]
    """Our scenario → how the problem differs from it; empty text where it does not."""
    methods: Mapping[str, tuple[str, ...]]
    """Printed method → ours; the paper's retrained model is ``retrain``."""
    otherwise: str = ""
    """What its protocol does otherwise than ours in this table alone, in sentences."""

    def __post_init__(self) -> None:
        settle(
            self,
            f"published table {self.table!r}",
            paper=Exactly((Paper,)),
            table=Text(),
            dataset=Text(),
            problem=Text(),
            columns=Several(Exactly((Column,)), "Column", least=1),
            numbers=Several(Exactly((Printed,)), "Printed", least=1),
            scenarios=Words(ANY_TEXT),
            methods=Words(Several(Text(), "our methods", least=1)),
            otherwise=ANY_TEXT,
        )
        for name in self.scenarios:
            check_name("scenario", name)
        self._check_numbers()

    def _check_numbers(self) -> None:
        metrics = [column.metric for column in self.columns]
        _require_distinct(f"{self.name}: column", metrics)
        _require_distinct(f"{self.name}: number", ((x.method, x.metric) for x in self.numbers))
        averaged = {column.part_of for column in self.columns} - {""}
        for what, names, known in (
            ("a number's metric", {x.metric for x in self.numbers}, metrics),
            ("part_of", averaged, metrics),
            ("methods", {*self.methods}, self.rows),
        ):
            for name in sorted(names - {*known}):
                raise ValueError(
                    f"{self.name}: {what} names {name!r}; expected one of {', '.join(known)}"
                )

    @property
    def name(self) -> str:
        """Identifies the table among all that are published."""
        return f"{self.paper.key} {self.table}: {self.dataset}, {self.problem}"

    @property
    def rows(self) -> tuple[str, ...]:
        """The printed methods, in the paper's order."""
        return tuple(dict.fromkeys(number.method for number in self.numbers))


def _require_distinct(what: str, keys: Iterable[object]) -> None:
    for key, count in Counter(keys).items():
        if count > 1:
            raise ValueError(f"{what} {shown(key)} occurs {count} times; expected one")
