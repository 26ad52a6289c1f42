"""The sentences of a scenario's page: how to read its numbers, and where they come from. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from harness.leaderboard.markdown import DEFAULTS, ranges
from harness.leaderboard.ranks import FEWEST_FOR_SETS, FLOOR
from harness.leaderboard.spread import SIGNIFICANCE
from harness.leaderboard.table import BUDGET, Table
from harness.records.tuned import OF
from harness.specs.scenario import REFERENCES, RETRAIN


def reading(table: Table) -> Iterable[str]:
    """The paragraphs under a page's table."""
    yield (
        "**Average gap**: the mean absolute difference, in percentage points, from the mean of the "
        "models retrained on the same retain set, over "
        + ", ".join(f"`{name}`" for name in table.components)
        + "; nearer to 0 is better. The signed differences stand in brackets. Each ± is the sample "
        "standard deviation over replicates, each with an original model and retrained models of "
        f"its own. The row `{RETRAIN}` is the noise floor: each retrained model against the others."
    )
    yield from _ranks(table)
    yield from _unranked(table)
    yield (
        f"**Cost**: seconds were measured on {table.hardware}, everything included, and are not "
        "comparable with any other hardware's. A pass is the floating-point work of one forward of "
        "one image. The share of retraining's cost stands in brackets."
    )
    yield from _origins(table)
    yield from _grades(table)


def _ranks(table: Table) -> Iterable[str]:
    if not table.ranked:
        yield f"**Nothing is ranked: {_obstacle(table)}.**"
        return
    order = "**Rank**: a row's place in the order of average gaps"
    n = len(table.replicates)
    if n < FEWEST_FOR_SETS:
        yield (
            f"{order}, and no more: with {n} replicates no difference is tested, for which it "
            f"takes {FEWEST_FOR_SETS}."
        )
        return
    rows, pairs = table.ranked, table.ranked * (table.ranked - 1) // 2
    text = (
        f"{order} and, in brackets, its 95 % confidence set of ranks, which holds for all {rows} "
        "ranked rows at once. The set reaches from 1 + the number of rows that are significantly "
        f"better to {rows} − the number that are significantly worse. Where the sets of two rows "
        "overlap, this table does not decide between them. Significant means: by a two-sided "
        f"paired t-test over the page's {n} replicates on the logarithm of the gap (floored at "
        f"{FLOOR} points), Holm-corrected over all {pairs:,} pairs, at {100 * SIGNIFICANCE:.0f} %. "
        "The test compares geometric means, which a few bad replicates move less than the "
        "arithmetic means that order the rows"
    )
    outside = any(s.rank is not None and s.rank.is_outside for s in table.standings)
    text += "; a place may therefore lie outside its set." if outside else "."
    if table.smallest_ratio is not None:
        text += (
            " The smallest ratio of two gaps that it could tell apart is "
            f"{table.smallest_ratio:.2f} (at the median pair of rows)."
        )
    yield text


def _obstacle(table: Table) -> str:
    if table.discriminates is False and table.obstacle:
        first, last = table.components[0], table.components[-1]
        return (
            f"{table.obstacle}, since the original models do not differ clearly from the retrained "
            f"ones in `{first}` and `{last}`"
        )
    return table.obstacle or "no row meets what a rank needs; each note says why"


def _unranked(table: Table) -> Iterable[str]:
    rows = sum(bool(s.unranked) and s.method not in REFERENCES for s in table.standings)
    if not rows or not table.ranked:
        return
    seeds = ranges(sorted({seed for seed, _ in table.replicates}))
    yield (
        f"**Not ranked**: {rows} {'row' if rows == 1 else 'rows'}, with the reason in the note. A "
        "method enters the ranks with one row: its tuned settings, or else its defaults. That row "
        f"needs the page's own replicates (seeds {seeds}, those that the most methods have), and "
        "all of its runs must have finished. A row without a rank changes no other row's."
    )


def _origins(table: Table) -> Iterable[str]:
    if any(s.earlier for s in table.standings):
        yield (
            "*Of an earlier source*: the method has changed since, and the row gives way to the "
            "newest source as soon as that has as many replicates."
        )
    if any(s.elsewhere for s in table.standings):
        yield (
            "*Own references*: the row was judged against original and retrained models that were "
            "trained on the hardware in the note, not against the other rows'. A gap is complete "
            "in itself, so that rows of several machines may stand in one table."
        )


def _grades(table: Table) -> Iterable[str]:
    shown = [s for s in table.standings if s.method not in REFERENCES]
    if any(s.beyond_budget for s in shown):
        yield (
            f"*Beyond the budget*: a run takes more than {100 * BUDGET:.0f} % of retraining's "
            "passes, the most that tuned settings may take; the note says how much it takes."
        )
    if any(s.stored for s in shown):
        yield (
            "† uses statistics of the whole train set that were stored when the original was "
            "trained: a grade of its own, which one who comes later cannot have. Their cost is in."
        )
    if table.tuned:
        name = f"tuned/{table.scenario.name}.json"
        yield (
            "*Tuned* settings were chosen on original models, forget sets and a part of the test "
            "set that this page does not report. *Tuning passes* is what all trials took, in units "
            f"of one retraining; every trial is in [{name}]({name}). A row noted *{DEFAULTS}* was "
            "not tuned."
        )
    if any(OF in s.chosen for s in shown):
        yield (
            "Settings tuned for *an earlier source* or *definition* were chosen before the source "
            "of the method, or the scenario and its data, became what they are; for *an unknown "
            "definition*, by a version that did not note it."
        )


def provenance(table: Table) -> Iterable[str]:
    """The items of a page's last list: seeds, data, packages, and what was left out."""
    seeds = sorted({run.replicate.seed for run in table.runs})
    facts = [run.circumstances for run in table.runs]
    packages = {f"{name} {version}" for f in facts for name, version in f["packages"].items()}
    commits = {f["commit"] for f in facts if f["commit"]}
    yield f"- Runs: {len(table.runs)}, with seeds {ranges(seeds)}."
    yield f"- Data: `{table.basis.data}` (hash of images and labels)."
    yield f"- Packages: {', '.join(sorted(packages))}."
    if commits:
        yield f"- Commits: {', '.join(sorted(commits))}."
    shared = sum(f.get("isolated") is False for f in facts)
    if shared:
        yield (
            f"- Not isolated: {_runs(shared)} of {len(facts)}, made in the command's own process "
            "(`--workers 0`), where one method can change what another computes."
        )
    for protocol in table.outdated:
        yield (
            f"- Left out: what an earlier version of `{protocol}` measured; `unlearn measure` "
            "measures those runs anew."
        )
    yield from (f"- {remark}" for remark in table.remarks)
    if table.left_out:
        yield (
            f"- Left out: {_runs(table.left_out)} in all, of another definition of this scenario, "
            "of another source of a method, of another machine, or of the same settings in the "
            "same replicate."
        )


def _runs(n: int) -> str:
    return f"{n} run" if n == 1 else f"{n} runs"
