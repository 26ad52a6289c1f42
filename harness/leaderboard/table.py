"""From lines to the table of a scenario: its rows, and what holds for all of them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.leaderboard.gaps import (
    FEWEST_REPLICATES,
    Definitions,
    Estimates,
    components_of,
    definitions_of,
    measured_by_run,
)
from harness.leaderboard.grouping import (
    ReplicateKey,
    age,
    commonest_hardware,
    grouped,
    replicate_of,
)
from harness.leaderboard.ranks import rank_sets, smallest_ratio
from harness.leaderboard.rows import Row, labels
from harness.leaderboard.score_curves import AttackScores, score_curves
from harness.leaderboard.selection import Selection, select
from harness.leaderboard.stand_in import StandIn, judge
from harness.records.lines import Basis, Line, Measurement, Pool, Run, Undefined, merge
from harness.specs.protocol import Metric
from harness.specs.scenario import ORIGINAL, REFERENCES, Scenario


@dataclass(frozen=True)
class Table:
    """All that a scenario's page shows."""

    scenario: Scenario
    basis: Basis
    rows: tuple[Row, ...]
    """The references first, then those with a rank by gap, then those without by gap."""
    components: tuple[str, ...]
    """The metrics that the average gap is made of."""
    unmeasured: tuple[str, ...]
    """Those of them without a value in any run; then nothing is ranked."""
    discriminates: bool | None
    """Whether the original models clearly differ from the retrained ones; none where too few
    replicates tell. Unless it is true, nothing is ranked."""
    ranked: int
    """The rows that have a rank."""
    replicates: tuple[ReplicateKey, ...]
    """The page's own, on which its rows are ranked; empty where no row has a gap."""
    smallest_ratio: float | None
    """The ratio of two gaps from which this table could tell them apart; none without a test."""
    gaps: Mapping[str, Mapping[ReplicateKey, float]]
    """Label → replicate → average gap in percentage points; of the rows that enter the ranks."""
    hardware: str
    """Of most runs; seconds are compared on it alone."""
    selection: Selection
    """The runs that the table is made of, and what was left out."""
    left_out: int
    """Runs of another definition of the scenario or source of a method, or made again."""
    definitions: Mapping[str, Metric]
    """``protocol.metric`` → what it means, as far as the records tell."""
    scores: Mapping[str, AttackScores]
    """Protocol → the scores of the rows, of the protocols that record them."""
    undefined: Mapping[str, str]
    """Method → why it has no row."""
    outdated: tuple[str, ...]
    """Protocols by whose earlier version some run is measured; those numbers are left out."""
    pools: Mapping[str, Pool]
    """Protocol → the further models that its numbers were measured with."""
    with_other_pools: tuple[str, ...]
    """Protocols with which some run is measured on another pool; those numbers are left out."""
    stand_in: StandIn | None
    """The attack that counts in the gap instead of the scenario's own, if one does."""

    @property
    def tuned(self) -> bool:
        """Whether some row has tuned settings."""
        return any(row.settings.tuned for row in self.rows)

    @property
    def obstacle(self) -> str:
        """Why nothing is ranked, whatever the rows; empty where nothing stands in the way."""
        if self.unmeasured:
            names = ", ".join(f"`{name}`" for name in self.unmeasured)
            return f"no run has a value of {names}, which the average gap needs"
        if self.discriminates is None:
            few = f"fewer than {FEWEST_REPLICATES} independent replicates"
            return f"{few} have original and retrained models"
        return "" if self.discriminates else "this scenario does not discriminate"


def tables(lines: Iterable[Line]) -> list[Table]:
    """One table a scenario, by name; metrics without a definition are shown without one."""
    every = merge(lines)
    definitions = definitions_of(every)
    runs = grouped((line for line in every if isinstance(line, Run)), lambda run: run.scenario.name)
    undefined: dict[str, dict[str, str]] = defaultdict(dict)
    for line in every:
        if isinstance(line, Undefined):
            undefined[line.scenario][line.method] = line.reason
    measured = measured_by_run(every)
    return [_table(runs[name], measured, undefined[name], definitions) for name in sorted(runs)]


def _table(
    runs: Sequence[Run],
    measured: Mapping[tuple[str, str], Sequence[Measurement]],
    undefined: Mapping[str, str],
    definitions: Definitions,
) -> Table:
    selection = select(runs)
    kept = selection.runs
    newest = max(kept, key=age)
    estimates = Estimates(kept, measured, definitions)
    hardware = commonest_hardware(kept)
    rows, field, stand_in = judge(selection, estimates, components_of(newest), hardware)
    comparison = rows.comparison
    shown = [run for own in selection.rows.values() for run in own]
    unmeasured = comparison.unmeasured(shown)
    # judged on the page's own replicates, so that no other row's take the ranks from a page
    judged = {*(field.replicates or selection.main)}
    discriminates = comparison.discriminates(
        run for run in shown if run.method == ORIGINAL and replicate_of(run) in judged
    )
    may_rank = not unmeasured and discriminates is True
    ranks = rank_sets(field.gaps) if may_rank else {}
    names = labels(selection.rows)
    made = [rows.row(key, names[key], ranks.get(key), field) for key in selection.rows]
    present = {run.method for run in kept}
    return Table(
        scenario=newest.scenario,
        basis=newest.basis,
        rows=tuple(sorted(made, key=_order)),
        components=comparison.components,
        unmeasured=unmeasured,
        discriminates=discriminates,
        ranked=len(ranks),
        replicates=tuple(sorted(field.replicates)),
        smallest_ratio=smallest_ratio(field.gaps) if may_rank else None,
        gaps={names[key]: gaps for key, gaps in field.gaps.items()},
        hardware=hardware,
        selection=selection,
        left_out=len(runs) - len(kept),
        definitions=estimates.definitions,
        scores=score_curves(
            {names[key]: rows.shown(key, field) for key in selection.rows},
            estimates,
            estimates.definitions,
        ),
        undefined={name: why for name, why in undefined.items() if name not in present},
        outdated=estimates.outdated,
        pools=estimates.pools,
        with_other_pools=estimates.with_other_pools,
        stand_in=stand_in,
    )


def _order(row: Row) -> tuple[int, bool, float, str]:
    first = REFERENCES.index(row.method) if row.is_reference else len(REFERENCES)
    gap = row.finished_gap.mean if row.finished_gap else float("inf")
    return first, row.rank is None, gap, row.label
