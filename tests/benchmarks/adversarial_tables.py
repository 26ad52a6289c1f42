"""Writes what was measured as Markdown: tables, and a verdict for each target."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from adversarial_measure import Outcome, Ratios, at, quotient, ratio_of
from adversarial_rivals import PUBLISHED, published
from adversarial_scaling import Cell

BATCHED = published(128).name
PGD, BRACKET = "`Pgd()`", '`Pgd(restart="origin")`'
ASCENDING = '`Pgd(restart="origin", order="ascending")`'
CLOSEST, AT_BOUNDARY = "`Closest({})`", "`Closest(20, overshoot=0)`"
BF16 = ", bf16"
DDN = "adv-lib DDN 100"
LARGE = 4096
"""Samples from which the share of the full-batch rate is judged."""


@dataclass(frozen=True, eq=False)
class Study:
    """All that was measured on one model."""

    name: str
    n: int
    accuracy: float
    outcomes: Mapping[str, Outcome]
    seconds: Mapping[str, Sequence[float]]
    cells: Sequence[Cell]
    failed: Sequence[str]
    """Attacks that could not be run, with the reason."""

    @property
    def reference(self) -> Outcome:
        """The published trajectory, a sample at a time."""
        return self.outcomes[PUBLISHED]

    def faster(self, name: str) -> Ratios | None:
        """Time of the published loop in batches of 128 over the attack's; none if not timed."""
        if not self.seconds.get(name):
            return None
        return quotient(self.seconds[BATCHED], self.seconds[name])

    def relative(self, name: str) -> float:
        """The median over samples of L2 over the published L2."""
        return statistics.median(ratio_of(self.outcomes[name], self.reference).tolist())


def table(study: Study) -> Iterable[str]:
    """One line an attack."""
    yield f"### {study.name}, n = {study.n}, {study.accuracy:.1%} right on the train set\n"
    yield (
        "| attack | gradients | forwards | success | median L2 | ratio: median | p90 | closer "
        "| same label | times as fast (range; rounds) |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    reference = study.reference
    for name, row in study.outcomes.items():
        closer = float((row.distance < reference.distance * (1 - 1e-4)).float().mean())
        same = float(((row.label == reference.label) & row.ok).float().mean())
        cells = [
            f"{row.gradients:.1f}",
            f"{row.forwards:.1f}",
            f"{row.success:.3f}",
            number(row.median, 4),
            number(study.relative(name), 3),
            number(at(ratio_of(row, reference), 0.9), 3),
            "–" if row is reference else f"{closer:.2f}",
            f"{same:.2f}",
            _ratios(study.faster(name)),
        ]
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    yield from (f"Left out: {reason}.\n" for reason in study.failed)


def scaling_table(study: Study) -> Iterable[str]:
    """One line an attack and size."""
    yield f"### {study.name}: time by number of samples\n"
    yield (
        "| attack | n | gradients | seconds (range; rounds) | ms a sample "
        "| share of the full-batch rate (range) | of which gradients |"
    )
    yield "|---|---|---|---|---|---|---|"
    for cell in study.cells:
        gradients = "–" if cell.gradients is None else f"{cell.gradients:.1f}"
        if not cell.seconds:
            yield (
                f"| {cell.name} | {cell.n} | {gradients} | left out: about "
                f"{cell.foreseen / 60:.0f} min | – | – | – |"
            )
            continue
        middle = statistics.median(cell.seconds)
        spread = f"{min(cell.seconds):.2f} – {max(cell.seconds):.2f}; {len(cell.seconds)}"
        share = alone = "–"
        if cell.share:
            low, high = min(cell.share), max(cell.share)
            share = f"{statistics.median(cell.share):.0%} ({low:.0%} – {high:.0%})"
            alone = f"{statistics.median(cell.gradients_alone):.0%}"
        yield (
            f"| {cell.name} | {cell.n} | {gradients} | {middle:.2f} ({spread}) "
            f"| {middle / cell.n * 1e3:.2f} | {share} | {alone} |"
        )
    yield ""


def verdicts(study: Study) -> Iterable[str]:
    """Each target of the module beside what was reached."""
    yield f"### {study.name}: targets\n"
    yield from _published_verdicts(study)
    yield from _closest_verdicts(study)
    for cell in study.cells:
        if cell.n >= LARGE and cell.name != BATCHED:
            wanted = 0.95 if cell.name.startswith("`Closest") else 0.85
            what = f"{cell.name}, n = {cell.n}: share of the full-batch rate"
            if cell.share:
                yield _verdict(what, statistics.median(cell.share), at_least=wanted)
            else:
                yield f"- {what}: not measured (about {cell.foreseen / 60:.0f} min)"
    yield _counts(study)
    yield ""


def _published_verdicts(study: Study) -> Iterable[str]:
    reference, pgd = study.reference, study.outcomes[PGD]
    assert reference.radius is not None
    assert pgd.radius is not None
    same = torch.isclose(pgd.radius, reference.radius).float().mean()
    yield _verdict(f"{PGD}: same radius as the published loop", float(same), at_least=0.99)
    off = abs(pgd.median / reference.median - 1)
    yield _verdict(f"{PGD}: median L2 off by", off, at_most=0.005, digits=5)
    yield _wall(study, PGD, 1.7)
    bracket, ascending = study.outcomes[BRACKET], study.outcomes[ASCENDING]
    assert bracket.radius is not None
    assert ascending.radius is not None
    moved = (bracket.images - ascending.images).flatten(1).abs().amax(1)
    identical = (bracket.radius == ascending.radius) & (bracket.label == ascending.label)
    identical &= moved < 1e-4
    yield _verdict(
        "bracket: identical to ascending", float(identical.float().mean()), at_least=0.995
    )
    fewer = ascending.gradients / bracket.gradients
    yield _verdict("bracket: times fewer gradients than ascending", fewer, at_least=2)


def _closest_verdicts(study: Study) -> Iterable[str]:
    ten, twenty = (CLOSEST.format(steps) for steps in (10, 20))
    row = study.outcomes[ten]
    fewer = study.reference.gradients / row.gradients
    yield _verdict(f"{ten}: times fewer gradients than the published loop", fewer, at_least=12)
    yield _verdict(f"{ten}: median L2 ratio", study.relative(ten), at_most=0.95)
    yield _verdict(f"{ten}: success", row.success, at_least=1)
    yield _wall(study, ten, 20)
    if DDN not in study.outcomes:
        yield f"- {twenty} against {DDN}: not measured"
        return
    rival, row = study.outcomes[DDN], study.outcomes[AT_BOUNDARY]
    fewer = rival.gradients / row.gradients
    yield _verdict(f"{AT_BOUNDARY}: times fewer gradients than {DDN}", fewer, at_least=4)
    yield _verdict(
        f"{AT_BOUNDARY} (DDN has no overshoot either): median L2 over that of {DDN}",
        row.median / rival.median,
        at_most=1,
    )
    beyond = study.outcomes[twenty].median / rival.median
    yield f"- {twenty}, with its overshoot of 0.02: the same {beyond:.3f}"


def _wall(study: Study, name: str, wanted: float) -> str:
    faster = study.faster(name)
    what = f"{name}: times as fast as the published loop"
    if faster is None:
        return f"- {what}: not measured"
    spread = f" ({faster.low:.2f} – {faster.high:.2f}; rounds: {faster.rounds})"
    return _verdict(what, faster.median, at_least=wanted, spread=spread)


def _counts(study: Study) -> str:
    """How far the hooks' counts lie above what the module itself reports."""
    excess = [
        (counted / told - 1, name)
        for name, row in study.outcomes.items()
        if row.claim is not None
        for counted, told in zip((row.gradients, row.forwards), row.claim, strict=True)
    ]
    low, high = min(excess), max(excess)
    return (
        f"- counts by hooks against the result's own: {low[0]:+.2%} ({low[1]}) to "
        f"{high[0]:+.2%} ({high[1]})"
    )


def _verdict(
    what: str,
    reached: float,
    *,
    at_least: float = 0.0,
    at_most: float = float("inf"),
    digits: int = 3,
    spread: str = "",
) -> str:
    target = f"at least {at_least:g}" if at_least else f"at most {at_most:g}"
    met = "met" if at_least <= reached <= at_most else "**MISSED**"
    return f"- {what}: {reached:.{digits}f}{spread}; target {target}: {met}"


def _ratios(ratios: Ratios | None) -> str:
    if ratios is None:
        return "–"
    low, high = (_short(value) for value in (ratios.low, ratios.high))
    return f"{_short(ratios.median)} ({low} – {high}; {ratios.rounds})"


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def number(value: float, digits: int) -> str:
    """A distance, or that the attack failed."""
    return f"{value:.{digits}f}" if value < float("inf") else "fails"
