"""Which rows a replicate forgets, retains, grants to the method, holds out and attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.datasets.vetting import class_text, classes_text
from harness.errors import UserError
from harness.plugins.forget_rules import with_source
from harness.plugins.modules import public_name
from harness.seeds import stream
from harness.specs.checks import shown
from harness.specs.forgetting import BUILT_IN, FORGET_STREAM, ForgetRule, MissingClassError
from harness.specs.recorded_rule import Rule
from harness.specs.scenario import Replicate, Scenario
from harness.specs.shares import draw_share


@dataclass(frozen=True, eq=False)
class Split:
    """Rows in ascending order, int64, on the CPU."""

    forget: Tensor
    retain: Tensor
    visible: Tensor
    """The part of the retain set that a method sees."""
    held_out: Tensor
    test: Tensor
    """The test rows that pages report: all except those for tuning."""
    nonmembers: Tensor
    """Positions in ``test``: the rows that membership attacks compare with the forget set."""


def split(
    scenario: Scenario,
    replicate: Replicate,
    train: Tensor,
    test: Tensor,
    classes: Sequence[str] = (),
) -> Split:
    """The rows of one replicate, from the labels ``(n,)`` of the train and the test set.

    ``classes`` names the labels in errors. Raises UserError if the scenario asks for rows or labels
    that the data set lacks, if given rows are held out, or if a share comes to no rows.
    """
    train = train.cpu()
    test = test.cpu()
    rows = torch.arange(len(train))
    held_out = _some(scenario, "held_out", rows, stream(replicate.seed, "held-out"))
    member = torch.ones(len(train), dtype=torch.bool)
    member[held_out] = False
    forget = forget_rows(scenario, replicate, train, rows[member], classes)
    member[forget] = False
    retain = rows[member]
    access = stream(replicate.forget_seed, "access")
    visible = _some(scenario, "retain_access", retain, access)
    reported = torch.ones(len(test), dtype=torch.bool)
    reported[tuning_rows(scenario.tuning, test)] = False
    (reported_rows,) = reported.nonzero(as_tuple=True)
    if len(reported_rows) == 0:
        raise UserError(
            f"scenario {scenario.name!r}: tuning {scenario.tuning:g} leaves none of {len(test)} "
            f"test images to report; expected a smaller share"
        )
    drawn = stream(replicate.forget_seed, "non-members")
    nonmembers = draw_nonmembers(train[forget], test[reported_rows], drawn)
    return Split(forget, retain, visible, held_out, reported_rows, nonmembers)


def is_repeatable(rule: ForgetRule) -> bool:
    """Whether a rule is known to draw from its generator alone, as the built-in ones do."""
    return isinstance(rule, BUILT_IN)


def require_same_rows(scenario: Scenario, first: Split, again: Split) -> None:
    """Raises UserError if the scenario's rule selected different rows from equal arguments."""
    if not torch.equal(first.forget, again.forget):
        raise UserError(
            f"{_rule_text(scenario)} selects other rows when asked again; draw from `generator` "
            f"alone"
        )


def tuning_rows(share: float, test: Tensor) -> Tensor:
    """The test rows that only tuning sees: a fixed random draw of this share from each class.

    Raises UserError if the share is above 0 but comes to less than half a row in every class.
    """
    generator = stream(0, "tuning")
    classes = int(test.max()) + 1 if len(test) else 0
    of_class = [(test == label).nonzero()[:, 0] for label in range(classes)]
    parts = [draw_share(rows, share, generator) for rows in of_class]
    rows = torch.cat([test.new_empty(0), *parts]).sort().values
    if share > 0 and len(test) and len(rows) == 0:
        raise UserError(
            f"tuning {share:g} of each class's test images comes to none; expected 0 or more"
        )
    return rows


def training_rows(scenario: Scenario, replicate: Replicate, n: int) -> Tensor:
    """The rows that the original model is trained on: all except those held out."""
    held_out = draw_share(torch.arange(n), scenario.held_out, stream(replicate.seed, "held-out"))
    kept = torch.ones(n, dtype=torch.bool)
    kept[held_out] = False
    return torch.arange(n)[kept]


def draw_nonmembers(forget: Tensor, test: Tensor, generator: torch.Generator) -> Tensor:
    """The largest random draw of test rows with the class proportions of the forget set.

    Both sets are given by their labels. Empty if a class of the forget set has no test image.
    """
    classes = int(max(forget.max(), test.max() if len(test) else forget.max())) + 1
    wanted = torch.bincount(forget, minlength=classes)
    present = torch.bincount(test, minlength=classes)
    scale = float((present[wanted > 0] / wanted[wanted > 0]).min())
    parts = []
    for label in wanted.nonzero().flatten().tolist():
        rows = (test == label).nonzero().flatten()
        size = min(round(scale * int(wanted[label])), len(rows))
        parts.append(rows[torch.randperm(len(rows), generator=generator)[:size]])
    return torch.cat(parts).sort().values


def _some(scenario: Scenario, field: str, rows: Tensor, generator: torch.Generator) -> Tensor:
    """A random draw of the scenario's share; raises UserError if a share above 0 gives no rows."""
    share: float = getattr(scenario, field)
    drawn = draw_share(rows, share, generator)
    if share > 0 and len(drawn) == 0:
        raise UserError(
            f"scenario {scenario.name!r}: {field} {share:g} of {len(rows)} rows comes to none; "
            f"expected 0 or at least {1 / max(1, len(rows)):.2g}"
        )
    return drawn


def forget_rows(
    scenario: Scenario,
    replicate: Replicate,
    labels: Tensor,
    members: Tensor,
    classes: Sequence[str],
) -> Tensor:
    """The rows that the scenario's rule selects, in ascending order, checked for mistakes."""
    generator = stream(replicate.forget_seed, FORGET_STREAM)
    rule = scenario.forget
    try:
        rows = rule.select(labels.clone(), members.clone(), generator)
    except MissingClassError as error:
        raise _missing_class(scenario, labels, error.label, classes) from None
    except Exception as error:
        text = " ".join(str(error).split())
        raise UserError(f"{_rule_text(scenario)} failed: {type(error).__name__}: {text}") from error
    if fault := _fault(rows, labels, members, scenario, replicate):
        raise UserError(f"{_rule_text(scenario)} {fault}")
    return rows.sort().values


def substitute(scenario: Scenario, labels: Tensor) -> ForgetRule:
    """The rule that tuning uses instead, given the train set's labels ``(n,)``.

    Raises UserError if the scenario's rule has no substitute or returns an invalid one.
    """
    try:
        return with_source(Rule().take(scenario.forget.substitute(labels.clone())))
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{_rule_text(scenario)} has no substitute for tuning: {text}") from error


def _rule_text(scenario: Scenario) -> str:
    rule = type(scenario.forget)
    plugin = "" if rule in BUILT_IN else f" of plugin {public_name(rule.__module__)!r}"
    return f"scenario {scenario.name!r}: forget rule {rule.__name__}{plugin}"


def _fault(
    rows: object, labels: Tensor, members: Tensor, scenario: Scenario, replicate: Replicate
) -> str:
    """What is wrong with the rows that a rule selected; empty if nothing is."""
    if not isinstance(rows, Tensor) or rows.dtype != torch.int64 or rows.ndim != 1:
        return _not_row_numbers(rows, labels, members)
    n = len(labels)
    count = len(rows)
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
            f"held_out=0.0, or rows that are held out in no replicate"
        )
    ordered = rows.sort().values
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        return f"selected rows more than once, such as {int(repeated[0])}"
    return _extreme(count, len(members), scenario.forget)


def _extreme(count: int, members: int, rule: ForgetRule) -> str:
    """What is wrong if a rule selects all or none of the members; empty otherwise."""
    if 0 < count < members:
        return ""
    found = f"all {count} rows" if count else "no rows"
    return f"({rule.describe()}) selected {found}; expected 1 to {members - 1} of {members}"


def _not_row_numbers(rows: object, labels: Tensor, members: Tensor) -> str:
    """What a rule selected instead of row numbers, and how to make them of a mask."""
    if not isinstance(rows, Tensor):
        return f"selected {shown(rows)}; expected a tensor of row numbers, int64"
    kind = str(rows.dtype).removeprefix("torch.")
    text = (
        f"selected a tensor of shape {tuple(rows.shape)} and type {kind}; expected row numbers "
        f"(k,) of type int64"
    )
    if rows.dtype != torch.bool or rows.ndim != 1 or len(rows) not in (len(labels), len(members)):
        return text
    mask = "mask[members]" if len(rows) == len(labels) else "mask"
    return f"{text}; return members[{mask}]"


def _missing_class(
    scenario: Scenario, labels: Tensor, label: int, classes: Sequence[str]
) -> UserError:
    count = len(classes) or int(labels.max()) + 1
    lacks = "has no train image of" if label < count else "lacks"
    return UserError(
        f"scenario {scenario.name!r} forgets {class_text(label, classes)}, which data set "
        f"{scenario.dataset!r} {lacks}; its classes are {classes_text(classes, count)}"
    )
