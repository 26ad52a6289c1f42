"""The block of a scenario's page about its tuning: the gap against the number of trials. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from harness.leaderboard.cells import NONE
from harness.leaderboard.markdown_table import markdown_table
from harness.records.tuned import BUDGET, FOLDER, OVER, Tuning, Unread

AFTER = (1, 5, 20)
"""The numbers of trials after which the smallest gap so far is shown."""

Tunings = Mapping[str, Mapping[str, Tuning | Unread]]
"""Scenario → method → how its settings were chosen."""

HEAD = ("Method", *(f"After {count}" for count in AFTER), "Defaults, fresh", "Kept, fresh")


def tuning_block(scenario: str, tunings: Tunings, methods: Iterable[str]) -> list[str]:
    """The lines of the block, for those of the methods that were tuned on the scenario.

    There are none where no method was.
    """
    found = tunings.get(scenario, {})
    tuned = {name: found[name] for name in sorted({*methods} & {*found})}
    rows = [[name, *_cells(each)] for name, each in tuned.items() if isinstance(each, Tuning)]
    if not rows:
        return []
    confirmed = {bool(each.confirmed) for each in tuned.values() if isinstance(each, Tuning)}
    text = _explanation(scenario, confirmed)
    return ["## Tuning\n", f"{text}\n", markdown_table(rows, HEAD), ""]


def _cells(tuning: Tuning) -> list[str]:
    after = [
        _gap(tuning.gap_after(count)) if count <= len(tuning.trials) else NONE for count in AFTER
    ]
    if not tuning.confirmed:
        return [*after, NONE, NONE]
    first = tuning.trials[0]
    failed = first.note if first.gap is None else NONE
    defaults = _gap(tuning.defaults.gap) if tuning.defaults else failed
    return [*after, defaults, _gap(tuning.best.gap) if tuning.best else NONE]


def _gap(gap: float | None) -> str:
    return NONE if gap is None else f"{gap:.2f}"


def _explanation(scenario: str, confirmed: Collection[bool]) -> str:
    """``confirmed`` tells of the methods whether their choice was confirmed on fresh originals."""
    name = f"{FOLDER}/{scenario}.json"
    start = (
        "Average gaps on original models that this page does not report. *After 1, 5, 20*: the "
        "smallest gap of the first so many trials."
    )
    sentences = [start]
    if True in confirmed:
        sentences.append(
            "The first trial is the method's defaults, and the next few lie around them. The "
            "smallest of many gaps flatters, so the best three settings and the defaults are "
            "judged again on *fresh* originals and forget sets, which no trial used; the settings "
            "with the smallest gap there are kept, which still flatters them a little. "
            f"*{OVER.capitalize()}*: a run takes more than {100 * BUDGET:.0f} % of retraining's "
            "passes."
        )
    if False in confirmed:
        sentences.append(
            "A method without fresh gaps was tuned by an earlier procedure, which neither tried "
            "the defaults nor confirmed its choice."
        )
    return " ".join([*sentences, f"Every trial is in [{name}]({name})."])
