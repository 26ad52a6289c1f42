"""Recomputes a printed average gap from the printed means of its row. Pure."""

from __future__ import annotations

from statistics import fmean

from harness.specs.published import Published
from harness.specs.scenario import RETRAIN


def parts(published: Published, metric: str) -> list[str]:
    """The metrics that an average is made of; none for a metric that is no average."""
    return [column.metric for column in published.columns if column.part_of == metric]


def recomputed(published: Published, method: str, metric: str) -> float | None:
    """The mean absolute difference from the retrained model, over the parts of the average.

    None where a part, or the retrained model, is not printed.
    """
    reference = next((name for name, ours in published.methods.items() if RETRAIN in ours), None)
    values = {(number.method, number.metric): number.value for number in published.numbers}
    averaged = parts(published, metric)
    needed = {(name, part) for name in (method, reference) for part in averaged}
    if not averaged or not needed <= values.keys():
        return None
    return fmean(abs(values[method, part] - values[str(reference), part]) for part in averaged)
