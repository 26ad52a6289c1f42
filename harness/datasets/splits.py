"""Which rows a replicate forgets, retains, shows to a method, holds out and attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.datasets.vetting import told_class, told_classes
from harness.errors import UserError
from harness.plugins.modules import public_name
from harness.plugins.rules import with_source
from harness.seeds import stream
from harness.specs.checks import shown
from harness.specs.forgetting import BUILT_IN, ForgetRule, MissingClassError, draw_share
from harness.specs.plugin_rules import Rule
from harness.specs.scenario import Replicate, Scenario


@dataclass(frozen=True, eq=False)
class Split:
    """Rows in ascending order, int64, on the CPU."""

    forget: Tensor
    retain: Tensor
    visible: Tensor
    """The part of the retain set that a method sees."""
    held_out: Tensor
    test: Tensor
    """Rows of the test set that are reported: all but those for tuning."""
    nonmembers: Tensor
    """Positions in ``test``."""


def split(
    scenario: Scenario,
    replicate: Replicate,
    train: Tensor,
    test: Tensor,
    classes: Sequence[str] = (),
) -> Split:
    """The rows of one replicate, from the labels ``(n,)`` of the train and the test set.

    ``classes`` names the labels in errors. Raises UserError where the scenario asks for rows or
    labels that the data set lacks, for given rows that are held out, and for a share of no row.
    """
    train, test = train.cpu(), test.cpu()
    rows = torch.arange(len(train))
    held_out = _some(scenario, "held_out", rows, stream(replicate.seed, "held-out"))
    member = torch.ones(len(train), dtype=torch.bool)
    member[held_out] = False
    forget = _forget(scenario, replicate, train, rows[member], classes)
    member[forget] = False
    retain = rows[member]
    if len(forget) == 0 or len(retain) == 0:
        raise UserError(
            f"{_told(scenario)}: to forget {scenario.forget.describe()} leaves {len(forget)} rows "
            f"to forget and {len(retain)} to retain; both must be at least 1"
        )
    access = stream(replicate.forget_seed, "access")
    visible = _some(scenario, "retain_access", retain, access)
    reported = torch.ones(len(test), dtype=torch.bool)
    reported[tuning_rows(scenario.tuning, test)] = False
    (rows,) = reported.nonzero(as_tuple=True)
    if len(rows) == 0:
        raise UserError(
            f"scenario {scenario.name!r}: tuning {scenario.tuning:g} leaves none of {len(test)} "
            f"test images to report; expected a smaller share"
        )
    drawn = stream(replicate.forget_seed, "non-members")
    nonmembers = class_matched(train[forget], test[rows], drawn)
    return Split(forget, retain, visible, held_out, rows, nonmembers)


def tuning_rows(share: float, test: Tensor) -> Tensor:
    """The rows of ``test`` labels that only tuning sees: a share of each class, one fixed draw.

    Raises UserError where a share is asked for and each class's is less than half a row.
    """
    generator = stream(0, "tuning")
    classes = int(test.max()) + 1 if len(test) else 0
    of_class = [(test == label).nonzero()[:, 0] for label in range(classes)]
    parts = [draw_share(rows, share, generator) for rows in of_class]
    rows = torch.cat([test.new_empty(0), *parts]).sort().values
    if share > 0 and len(test) and len(rows) == 0:
        raise UserError(
            f"tuning {share:g} of each class's test images is none; expected 0, or a larger share"
        )
    return rows


def training_rows(scenario: Scenario, replicate: Replicate, n: int) -> Tensor:
    """What the original model is trained on: all rows but those held out."""
    held_out = draw_share(torch.arange(n), scenario.held_out, stream(replicate.seed, "held-out"))
    kept = torch.ones(n, dtype=torch.bool)
    kept[held_out] = False
    return torch.arange(n)[kept]


def class_matched(forget: Tensor, test: Tensor, generator: torch.Generator) -> Tensor:
    """The largest draw of rows of ``test`` labels with the class proportions of ``forget`` labels.

    Empty where a class of the forget set has no test image at all.
    """
    classes = int(max(forget.max(), test.max() if len(test) else forget.max())) + 1
    wanted = torch.bincount(forget, minlength=classes)
    there = torch.bincount(test, minlength=classes)
    scale = float((there[wanted > 0] / wanted[wanted > 0]).min())
    parts = []
    for label in wanted.nonzero().flatten().tolist():
        rows = (test == label).nonzero().flatten()
        size = min(round(scale * int(wanted[label])), len(rows))
        parts.append(rows[torch.randperm(len(rows), generator=generator)[:size]])
    return torch.cat(parts).sort().values


def _some(scenario: Scenario, field: str, rows: Tensor, generator: torch.Generator) -> Tensor:
    """A draw of the share that the scenario states; what shall be some rows must not be none."""
    share: float = getattr(scenario, field)
    drawn = draw_share(rows, share, generator)
    if share > 0 and len(drawn) == 0:
        raise UserError(
            f"scenario {scenario.name!r}: {field} {share:g} of {len(rows)} rows is none; expected "
            f"0, or at least {1 / max(1, len(rows)):.2g}"
        )
    return drawn


def _forget(
    scenario: Scenario,
    replicate: Replicate,
    labels: Tensor,
    members: Tensor,
    classes: Sequence[str],
) -> Tensor:
    """What the scenario's rule selects, in ascending order; a rule may be a stranger's."""
    generator = stream(replicate.forget_seed, "forget")
    rule = scenario.forget
    try:
        rows = rule.select(labels.clone(), members.clone(), generator)
    except MissingClassError as error:
        raise _missing_class(scenario, labels, error.label, classes) from None
    except Exception as error:
        text = " ".join(str(error).split())
        raise UserError(f"{_told(scenario)} failed: {type(error).__name__}: {text}") from error
    if fault := _fault(rows, labels, members, scenario, replicate):
        raise UserError(f"{_told(scenario)} {fault}")
    return rows.sort().values


def substitute(scenario: Scenario, labels: Tensor) -> ForgetRule:
    """What tuning forgets instead, from the train set's labels ``(n,)``.

    Raises UserError where the scenario's rule has no substitute, or gives what is no rule.
    """
    try:
        return with_source(Rule().take(scenario.forget.substitute(labels.clone())))
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{_told(scenario)} has no substitute for tuning: {text}") from error


def _told(scenario: Scenario) -> str:
    rule = type(scenario.forget)
    plugin = "" if rule in BUILT_IN else f" of plugin {public_name(rule.__module__)!r}"
    return f"scenario {scenario.name!r}: forget rule {rule.__name__}{plugin}"


def _fault(
    rows: object, labels: Tensor, members: Tensor, scenario: Scenario, replicate: Replicate
) -> str:
    """What is wrong with the rows that a rule selected; empty where nothing is."""
    if not isinstance(rows, Tensor):
        return f"selected {shown(rows)}; expected a tensor of row numbers, int64"
    if rows.dtype != torch.int64 or rows.ndim != 1:
        kind = str(rows.dtype).removeprefix("torch.")
        return (
            f"selected a tensor of shape {tuple(rows.shape)} and type {kind}; expected row numbers "
            f"(k,) of type int64"
        )
    n, count = len(labels), len(rows)
    outside = rows[(rows < 0) | (rows >= n)]
    if len(outside):
        return (
            f"selected {count} rows; {len(outside)} of them are not in [0, {n}), the train set of "
            f"{scenario.dataset!r}, such as {int(outside[0])}"
        )
    held_out = rows[~torch.isin(rows, members)]
    if len(held_out):
        return (
            f"selected {count} rows; {len(held_out)} of them are held out with seed "
            f"{replicate.seed}, such as {int(held_out[0])}, and no model trains on them; expected "
            f"held_out=0.0, or rows that no replicate holds out"
        )
    ordered = rows.sort().values
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return f"selected rows more than once, such as {int(twice[0])}" if len(twice) else ""


def _missing_class(
    scenario: Scenario, labels: Tensor, label: int, classes: Sequence[str]
) -> UserError:
    count = len(classes) or int(labels.max()) + 1
    lacks = "has no train image of" if label < count else "lacks"
    return UserError(
        f"scenario {scenario.name!r} forgets {told_class(label, classes)}, which data set "
        f"{scenario.dataset!r} {lacks}; its classes are {told_classes(classes, count)}"
    )
