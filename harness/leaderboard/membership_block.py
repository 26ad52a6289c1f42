"""The block of a scenario's page on membership inference with reference models. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from harness.leaderboard.attacks import (
    distances,
    ft_aucs,
    knowing_aucs,
    null_of,
    readings,
    verdict,
    verdict_of_knowing,
)
from harness.leaderboard.cells import NONE, counted, mean_sd
from harness.leaderboard.guessing import (
    BETTER,
    EQUIVALENT,
    LEVEL,
    MARGIN,
    OPEN,
    UNDERPOWERED,
    WORSE,
)
from harness.leaderboard.markdown_table import markdown_table
from harness.leaderboard.rows import Row
from harness.leaderboard.summary import summarise_replicates
from harness.leaderboard.table import Table

BESIDE = ("ft-tpr@1%fpr", "ft-tpr@0.1%fpr", "fr-auc", "rt-auc")
"""Shown of the headline's protocol beside its FT AUC."""


class Column(NamedTuple):
    """A column of the block's table."""

    title: str
    cell: Callable[[Row], str]


def membership_block(table: Table) -> list[str]:
    """The lines of the block; none where no protocol was measured with a pool."""
    columns = [*_columns(table)]
    if not columns:
        return []
    rows = [[row.label, *(column.cell(row) for column in columns)] for row in table.rows]
    return [
        "## Membership inference\n",
        f"{_introduction(table)}\n",
        markdown_table(rows, ["Method", *(column.title for column in columns)]),
        "",
        *(f"{text}\n" for text in _verdicts(table)),
        *_answer(table),
        "",
    ]


def _columns(table: Table) -> list[Column]:
    """Only what some row has a value of."""
    attacks, knowing = ft_aucs(table), knowing_aucs(table)
    columns = [*_headline(attacks[0], table)] if attacks else []
    columns += [Column(f"{name} (%)", _cell_of(name, table)) for name in attacks[1:]]
    columns += [Column(f"{name} (%)", _shared_of(name, digits=1)) for name in knowing]
    columns += [
        Column(f"{name} ({_unit(name, table)}null)", _with_null(name)) for name in distances(table)
    ]
    if attacks:
        columns.append(Column("Verdict", _verdict_of(attacks[0], table)))
    return columns + [Column(f"Verdict of {name}", _verdict_of_knowing(name)) for name in knowing]


def _headline(name: str, table: Table) -> Iterator[Column]:
    yield Column(f"{name} (%)", _cell_of(name, table))
    yield Column("95 % interval", _interval_of(name, table))
    protocol = name.partition(".")[0]
    for other in (f"{protocol}.{metric}" for metric in BESIDE):
        if any(readings(row, other, table).values for row in table.rows):
            yield Column(f"{other} (%)", _cell_of(other, table))


def _unit(name: str, table: Table) -> str:
    metric = table.definitions.get(name)
    return f"{metric.unit}; " if metric and metric.unit else ""


def _cell_of(name: str, table: Table) -> Callable[[Row], str]:
    """Mean and deviation, with the difference from the retrained models in brackets."""

    def cell(row: Row) -> str:
        found = readings(row, name, table)
        if not found.values:
            return NONE
        text = mean_sd(summarise_replicates(found.values), digits=1)
        if found.differences:
            text += f" ({summarise_replicates(found.differences).mean:+.1f})"
        return text

    return cell


def _interval_of(name: str, table: Table) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        found = readings(row, name, table)
        half = found.half_width() if found.values else None
        return NONE if half is None else f"[{found.mean - half:.1f}, {found.mean + half:.1f}]"

    return cell


def _shared_of(name: str, digits: int) -> Callable[[Row], str]:
    """The value that all replicates share, with its interval."""

    def cell(row: Row) -> str:
        return mean_sd(row.metrics[name].value, digits) if name in row.metrics else NONE

    return cell


def _with_null(name: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        names = name, null_of(name, row.metrics)
        value, null = (_shared_of(each, digits=2)(row) for each in names)
        return value if null == NONE else f"{value} ({null})"

    return cell


def _verdict_of(name: str, table: Table) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        found = verdict(row, name, table)
        return NONE if found is None else str(found)

    return cell


def _verdict_of_knowing(name: str) -> Callable[[Row], str]:
    return lambda row: verdict_of_knowing(row, name) or NONE


def _introduction(table: Table) -> str:
    pools = sorted({pool.size for pool in table.pools.values()})
    each = "; *Provenance* says which protocol used how many" if len(pools) > 1 else ""
    text = (
        f"Measured with {' or '.join(map(str, pools))} further models{each}. An AUC is in percent, "
        "and 50 is guessing. *FT* tells forgotten from test images, *FR* retained from forgotten "
        "and *RT* retained from test images. Numbers are means over the page's replicates; the "
        "signed difference from the retrained models is in brackets, and 0 is best."
    )
    parts = [text]
    if knowing := knowing_aucs(table):
        parts.append(
            f"{_names(knowing)}: the attacker knows the method and has run it on models of its "
            "own; a method has one value, with its 95 % interval."
        )
    if far := distances(table):
        parts.append(
            f"{_names(far)}: the null in brackets is the value between two groups of models made "
            "in the same way; if it has an interval, its upper end is the 95 % quantile."
        )
    return " ".join(parts)


def _verdicts(table: Table) -> Iterator[str]:
    if attacks := ft_aucs(table):
        yield _verdict_explained(attacks[0])
    if knowing := knowing_aucs(table):
        yield (
            f"**Verdict of {_names(knowing)}**, from its 95 % interval. *Equivalent to guessing*: "
            f"it lies within 50 ± {MARGIN:.0f}; *guessing not excluded*: it contains 50; *better "
            "than guessing*: it lies above 50; *over-forgetting*: below."
        )


def _verdict_explained(attack: str) -> str:
    return (
        f"**Verdict**, on `{attack}`. *Equivalent to guessing*: the {100 * LEVEL:.0f} % "
        f"interval of the mean lies within 50 ± {MARGIN:.0f} (two one-sided tests at 5 %); *not "
        "equivalent*: it lies outside; *undecided*: it does both. *Underpowered*: so does it, and "
        "with n forgotten images in all it is too wide to fit, so the test can neither pass nor "
        "fail. *Over-forgetting*: "
        "the mean lies below the 95 % interval of the retrained models' mean, and the interval of "
        "the differences from them excludes 0; *under-forgetting*: the same above; else *as "
        "retrained*. Over-forgetting is no merit: an attacker who reverses the answer finds the "
        "forgotten images."
    )


def _answer(table: Table) -> Iterator[str]:
    """For which rows each attack is no better than guessing, as a list."""
    rows = [row for row in table.rows if not row.is_reference]
    seen_through = {row.label: text for row in rows if (text := _seen_through(row, table))}
    yield "**Which methods leave an attacker at random guessing?**\n"
    for name in ft_aucs(table):
        verdicts = {row.label: verdict(row, name, table) for row in rows}
        found = {label: each.equivalence for label, each in verdicts.items() if each}
        passed = [
            label + seen_through.get(label, "")
            for label, each in found.items()
            if each == EQUIVALENT
        ]
        text = f"- Equivalent to guessing under `{name}`: {_of(passed, len(found))}."
        weak = [*found.values()].count(UNDERPOWERED)
        yield text + (f" The test is underpowered for {weak}." if weak else "")
    for name in knowing_aucs(table):
        found = {row.label: text for row in rows if (text := verdict_of_knowing(row, name))}
        passed = [label for label, each in found.items() if each in (EQUIVALENT, OPEN)]
        yield f"- The interval of `{name}` contains 50: {_of(passed, len(found))}."


def _seen_through(row: Row, table: Table) -> str:
    """What an attacker who knows the method still gets of it; empty if that may be guessing."""
    found = [
        f"`{name}` {_shared_of(name, digits=1)(row)}"
        for name in knowing_aucs(table)
        if verdict_of_knowing(row, name) in (BETTER, WORSE)
    ]
    return f" (but {', '.join(found)})" if found else ""


def _of(passed: Iterable[str], every: int) -> str:
    """As in ``none of 7 rows``, or ```a`, `b` (2 of 7 rows)``."""
    names, of = [_code(label) for label in passed], f"of {counted(every, 'row')}"
    return f"{', '.join(names)} ({len(names)} {of})" if names else f"none {of}"


def _code(label: str) -> str:
    """The label as code, without what is said of it in brackets."""
    name, bracket, rest = label.partition(" (but ")
    return f"`{name}`{bracket}{rest}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
