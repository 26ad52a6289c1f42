"""The text under a page's tables: how to read its numbers, and where they come from. Pure.

Each paragraph is a condition and a text: the condition says whether a table needs it, the text is
one sentence after the other without a further decision.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from harness.leaderboard.cells import DEFAULTS, counted, progress
from harness.leaderboard.clusters import are_crossed, independent
from harness.leaderboard.grouping import replicate_of
from harness.leaderboard.ranks import FEWEST_FOR_SETS, FLOOR, SIGNIFICANCE
from harness.leaderboard.replicates import crossing, seeds_of, too_few
from harness.leaderboard.table import Table
from harness.records.lines import Pool
from harness.records.tuned import BUDGET, OF
from harness.specs.scenario import RETRAIN


class Paragraph(NamedTuple):
    """A text, and the tables that it is for."""

    applies: Callable[[Table], bool]
    text: Callable[[Table], str]


def explanations(table: Table) -> list[str]:
    """The paragraphs that explain the main table."""
    return [each.text(table) for each in PARAGRAPHS if each.applies(table)]


def provenance(table: Table) -> list[str]:
    """The items of a page's last list: runs, data, packages, and what was left out."""
    return [f"- {item}" for item in [*_sources(table), *_omissions(table)]]


def _is_ranked(table: Table) -> bool:
    return table.ranked > 0


def _is_tested(table: Table) -> bool:
    return _is_ranked(table) and independent(table.replicates) >= FEWEST_FOR_SETS


def _is_crossed(table: Table) -> bool:
    return are_crossed(table.replicates)


def _average_gap(table: Table) -> str:
    names = ", ".join(f"`{name}`" for name in table.components)
    return (
        "**Average gap**: how far the unlearned models are from models retrained without the "
        f"forget set. It is the mean, over {names}, of the absolute difference from the mean of "
        "the retrained models, in percentage points; 0 is best. The signed differences are in "
        "brackets. Each ± is the sample standard deviation over replicates; every replicate has "
        f"{'' if _is_crossed(table) else 'an original model and '}retrained models of its own. "
        f"The row `{RETRAIN}` is the noise floor: the gap that one more retrained model would "
        "show, estimated from each of them against the others."
    )


def _stands_in(table: Table) -> str:
    found = table.stand_in
    assert found is not None  # the paragraph is for no other table
    why = f"The attack of this scenario is `{found.instead_of}`, but {found.reason}."
    if not found.metric:
        return f"**No stand-in**: {why} No other attack has a value in all runs, so it counts."
    return f"**Stand-in**: {why} In the average gap, `{found.metric}` stands in for it."


def _not_ranked(table: Table) -> str:
    reason = table.obstacle or "no row meets what a rank requires; each note says why"
    return f"**Nothing is ranked: {reason}.**"


def _does_not_discriminate(table: Table) -> str:
    return (
        "A scenario discriminates if the original models differ clearly from the retrained ones, "
        f"both in `{table.components[0]}` and in `{table.components[-1]}`: by more than three "
        "standard errors of the mean difference."
    )


def _order_alone(table: Table) -> str:
    return (
        "**Rank**: a row's place in the order of average gaps, and no more: no difference is "
        f"tested with {too_few(table.replicates)}."
    )


def _rank_sets(table: Table) -> str:
    rows = table.ranked
    return (
        "**Rank**: a row's place in the order of average gaps and, in brackets, its 95 % "
        f"confidence set of ranks, which holds for all {rows} ranked rows at once. The set runs "
        f"from 1 + the number of rows that are significantly better to {rows} − the number that "
        "are significantly worse. Where the sets of two rows overlap, this table does not decide "
        "between them. The test is a two-sided paired t-test over the page's "
        f"{len(table.replicates)} replicates on the logarithm of the gap (floored at {FLOOR} "
        f"points){_allowance(table)}, Holm-corrected over all {rows * (rows - 1) // 2:,} pairs, at "
        f"{100 * SIGNIFICANCE:.0f} %. It compares geometric means, which a few bad replicates move "
        "less than the arithmetic means that order the rows." + _power(table) + _outside(table)
    )


def _allowance(table: Table) -> str:
    if not _is_crossed(table):
        return ""
    return ", with a standard error that allows for the models and forget sets that they share"


def _power(table: Table) -> str:
    if table.smallest_ratio is None:
        return ""
    return (
        " The smallest ratio of two gaps that it could tell apart is "
        f"{table.smallest_ratio:.2f} (at the median pair of rows)."
    )


def _outside(table: Table) -> str:
    if not any(row.rank is not None and row.rank.is_outside for row in table.rows):
        return ""
    return " For the same reason a place may lie outside its set."


def _unranked_rows(table: Table) -> int:
    return sum(bool(row.unranked) for row in table.rows)


def _rows_without_rank(table: Table) -> str:
    return (
        f"**Not ranked**: {counted(_unranked_rows(table), 'row')}, with the reason in the note. A "
        "method enters the ranks with one row: its tuned settings, or else its defaults. That row "
        f"needs the page's own replicates ({seeds_of(table.replicates)}, those that the most "
        "methods have), and all of its runs must have finished. A row "
        "without a rank does not affect the ranks of the others."
    )


def _cost(table: Table) -> str:
    return (
        f"**Cost**: seconds were measured on {table.hardware} and include everything a method "
        "does; they are not comparable with other hardware. A pass is the floating-point work of "
        "one forward pass of one image. The share of retraining's cost is in brackets."
    )


def _earlier_source(_: Table) -> str:
    return (
        "*Of an earlier source*: the method has changed since. The row gives way to the newest "
        "source as soon as that has as many replicates."
    )


def _own_references(_: Table) -> str:
    return (
        "*Own references*: the row was judged against original and retrained models that were "
        "trained on the hardware in the note, not against those of the other rows. A gap is "
        "complete in itself, so rows of several machines may stand in one table."
    )


def _beyond_budget(_: Table) -> str:
    return (
        f"*Beyond the budget*: a run takes more than {100 * BUDGET:.0f} % of retraining's passes, "
        "the most that tuned settings may take; the note says how much it takes."
    )


def _stored_statistics(_: Table) -> str:
    return (
        "† uses statistics of the whole train set that were stored when the original was trained, "
        "and are unavailable once training is over; such a method is a class of its own. The cost "
        "of the statistics is included."
    )


def _tuned(table: Table) -> str:
    name = f"tuned/{table.scenario.tuned_as or table.scenario.name}.json"
    return (
        "*Tuned* settings were chosen on other original models, other forget sets and a part of "
        "the test set that this page does not report. *Tuning passes* is what all trials took "
        f"together, as a share of one retraining; every trial is in [{name}]({name}). A row noted "
        f"*{DEFAULTS}* was not tuned."
    )


def _tuned_for_another(_: Table) -> str:
    return (
        "Settings tuned for *an earlier source* or *definition* were chosen before the source of "
        "the method, or the scenario and its data, changed to what they are now; those tuned for "
        "*an unknown definition*, by a version of the program that did not record it."
    )


PARAGRAPHS = (
    Paragraph(lambda _: True, _average_gap),
    Paragraph(lambda table: table.stand_in is not None, _stands_in),
    Paragraph(_is_crossed, lambda table: crossing(table.replicates)),
    Paragraph(lambda table: not _is_ranked(table), _not_ranked),
    Paragraph(
        lambda table: table.discriminates is False and not table.unmeasured, _does_not_discriminate
    ),
    Paragraph(lambda table: _is_ranked(table) and not _is_tested(table), _order_alone),
    Paragraph(_is_tested, _rank_sets),
    Paragraph(lambda table: _is_ranked(table) and _unranked_rows(table) > 0, _rows_without_rank),
    Paragraph(lambda _: True, _cost),
    Paragraph(lambda table: any(row.newer_source for row in table.rows), _earlier_source),
    Paragraph(lambda table: any(row.elsewhere for row in table.rows), _own_references),
    Paragraph(
        lambda table: any(r.spending.beyond_budget and not r.is_reference for r in table.rows),
        _beyond_budget,
    ),
    Paragraph(
        lambda table: any(r.spending.uses_stored and not r.is_reference for r in table.rows),
        _stored_statistics,
    ),
    Paragraph(lambda table: table.tuned, _tuned),
    Paragraph(
        lambda table: any(OF in row.settings.chosen for row in table.rows), _tuned_for_another
    ),
)
"""Under the main table, in this order."""


def _sources(table: Table) -> Iterator[str]:
    runs = table.selection.runs
    facts = [run.circumstances for run in runs]
    packages = {f"{name} {version}" for f in facts for name, version in f["packages"].items()}
    commits = {f["commit"] for f in facts if f["commit"]}
    not_isolated = sum(f.get("isolated") is False for f in facts)
    yield f"Runs: {len(runs)}, with {seeds_of({replicate_of(run) for run in runs})}."
    yield f"Data: `{table.basis.data}` (hash of images and labels)."
    yield from _pools(table)
    yield f"Packages: {', '.join(sorted(packages))}."
    if commits:
        yield f"Commits: {', '.join(sorted(commits))}."
    if not_isolated:
        yield (
            f"Not isolated: {counted(not_isolated, 'run')} of {len(runs)}, made in the command's "
            "own process (`--workers 0`), where one method can change what another computes."
        )


def _pools(table: Table) -> Iterator[str]:
    protocols: dict[Pool, list[str]] = defaultdict(list)
    for protocol, pool in table.pools.items():
        protocols[pool].append(f"`{protocol}`")
    for pool, names in protocols.items():
        yield (
            f"Pool of {', '.join(names)}: {counted(pool.size, 'model')}, `{pool.digest}` (hash of "
            "their logits)."
        )


def _omissions(table: Table) -> Iterator[str]:
    selection = table.selection
    if selection.newer_definition is not None:
        newest = progress(selection.newer_definition)
        yield f"This page shows an earlier definition of the scenario: {newest}."
    for protocol in table.outdated:
        yield (
            f"Left out: measurements by an earlier version of `{protocol}`; `unlearn measure` "
            "repeats them with the present one."
        )
    for protocol in table.with_other_pools:
        yield f"Left out: measurements by `{protocol}` with another pool than the one above."
    for method, count in sorted(selection.unpaired.items()):
        yield (
            f"Left out: {counted(count, 'run')} of `{method}` whose retrained models are not in "
            "the records."
        )
    if selection.repeated:
        yield (
            f"Left out: {counted(selection.repeated, 'run')} of another machine than the one that "
            "the row shows."
        )
    if table.left_out:
        yield (
            f"Left out: {counted(table.left_out, 'run')} in all, of another definition of this "
            "scenario, of another source of a method, of another machine, or of the same settings "
            "in the same replicate."
        )
