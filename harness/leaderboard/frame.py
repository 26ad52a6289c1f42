"""The records of a leaderboard as one pandas DataFrame, for analyses of the reader's own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.leaderboard.gaps import (
    Comparison,
    Estimates,
    components_of,
    definitions_of,
    measured_by_run,
)
from harness.leaderboard.grouping import age, grouped, hardware_of
from harness.leaderboard.publish import published_lines
from harness.leaderboard.selection import complete_sets, select
from harness.leaderboard.stand_in import judge
from harness.records.lines import Line, Measurement, Run, identity_of, merge, problem_key
from harness.specs.scenario import RETRAIN

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Mapping[str, str] = {
    "scenario": "object",
    "dataset": "object",
    "backbone": "object",
    "method": "object",
    "config": "object",
    "chosen": "object",
    "seed": "int64",
    "forget_seed": "int64",
    "draw": "int64",
    "status": "object",
    "metric": "object",
    "version": "Int64",
    "pool": "Int64",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n": "Int64",
    "note": "object",
    "difference": "float64",
    "counts_in_gap": "bool",
    "seconds": "float64",
    "passes": "float64",
    "hardware": "object",
    "on_page": "bool",
    "run_id": "object",
}
"""Column → the type that pandas gives it; ``Int64`` is the one that has missing numbers."""


def load_results(folder: str | os.PathLike[str] = "leaderboards") -> pd.DataFrame:
    """The records of a leaderboard's folder, one line for each run and metric.

    A run without any measurement, such as a failed one, has one line without a metric. The columns:

    =================  =============================================================================
    ``scenario``       the scenario's name
    ``dataset``        the data set's name
    ``backbone``       the network's name
    ``method``         the method's name; ``original`` and ``retrain`` are the references
    ``config``         the method's settings, as JSON with sorted keys
    ``chosen``         how they were chosen; empty: the method's defaults
    ``seed``           of the original model and of the method
    ``forget_seed``    of the forget set
    ``draw``           which of the K retrained models; 0 for every other method
    ``status``         ``finished``, ``diverged``, ``changed architecture`` or ``failed``
    ``metric``         ``protocol.metric``, such as ``accuracy.forget``; missing without measurement
    ``version``        of the protocol; missing without measurement
    ``pool``           how many further models it was measured with; missing where it needs none
    ``value``          in the metric's unit, most often percent; missing where there is none
    ``low``, ``high``  the 95 % interval over the ``n`` points that the value was measured on
    ``n``              how many points these are
    ``note``           why there is no value
    ``difference``     the value less the mean of the retrained models that the run was measured
                       against; missing for these models, for outdated protocol versions, and for
                       another pool than the one that counts
    ``counts_in_gap``  whether the metric is one of those that the average gap is made of
    ``seconds``        what the run took, everything included
    ``passes``         the same in forward passes of one image
    ``hardware``       where the seconds were measured
    ``on_page``        whether the scenario's page shows the run; it shows no runs of a superseded
                       source or definition
    ``run_id``         the hash of what was asked
    =================  =============================================================================

    The average gap of a run is the mean of ``difference.abs()`` over its lines with
    ``counts_in_gap``. Raises UserError for a folder without records.
    """
    import pandas as pd

    lines = merge(published_lines(Path(folder)))
    runs = [line for line in lines if isinstance(line, Run)]
    if not runs:
        raise UserError(
            f"{os.fspath(folder)}: no records; expected a folder that `unlearn leaderboard` has "
            f"written, with records/*.jsonl in it"
        )
    return pd.DataFrame(_observations(lines, runs), columns=[*COLUMNS]).astype(COLUMNS)


def _observations(lines: Iterable[Line], runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """The lines of the DataFrame, ordered by scenario and then as in the records."""
    lines = [*lines]
    measured, definitions = measured_by_run(lines), definitions_of(lines)
    for _, own in sorted(grouped(runs, lambda run: run.scenario.name).items()):
        on_page = {identity_of(run) for run in select(own).runs}
        for problem in grouped(own, problem_key).values():
            estimates = Estimates(problem, measured, definitions)
            components = _components(problem, estimates)
            comparison = Comparison(estimates, complete_sets(problem), components)
            for run in problem:
                about = {**_about(run), "on_page": identity_of(run) in on_page}
                for each in _measured(run, measured.get(identity_of(run), ()), comparison):
                    yield {**about, **each}


def _components(problem: Sequence[Run], estimates: Estimates) -> tuple[str, ...]:
    """The metrics that the average gap of a page of these runs is made of."""
    asked = components_of(max(problem, key=age))
    return judge(select(problem), estimates, asked, "").rows.comparison.components


def _about(run: Run) -> dict[str, Any]:
    return {
        "scenario": run.scenario.name,
        "dataset": run.scenario.dataset,
        "backbone": run.scenario.backbone,
        "method": run.method,
        "config": json.dumps(run.config, sort_keys=True),
        "chosen": run.chosen,
        "seed": run.replicate.seed,
        "forget_seed": run.replicate.forget_seed,
        "draw": run.draw,
        "status": run.status,
        "seconds": sum(run.cost.seconds.values()),
        "passes": run.cost.passes,
        "hardware": hardware_of(run),
        "run_id": run.run_id,
    }


def _measured(
    run: Run, measurements: Iterable[Measurement], comparison: Comparison
) -> Iterator[dict[str, Any]]:
    """What differs between the lines of one run; at least one of them."""
    differences = {} if run.method == RETRAIN else comparison.differences(run)
    empty = True
    for line in measurements:
        is_current = comparison.estimates.is_current(line)
        for name, estimate in line.estimates.items():
            metric = f"{line.protocol}.{name}"
            empty = False
            yield {
                "metric": metric,
                "version": line.version,
                "pool": line.pool.size if line.pool else None,
                **vars(estimate),
                "difference": differences.get(metric) if is_current else None,
                "counts_in_gap": metric in comparison.components,
            }
    if empty:
        yield {"counts_in_gap": False}
