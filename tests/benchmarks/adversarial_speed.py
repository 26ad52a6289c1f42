"""Compares the adversarial module with the published loop and with three libraries.

Two trained models: ``test_resnet`` on the digits, and a ResNet on 5,000 images of CIFAR-10 where
``--data`` has them in torchvision's layout. Gradients and forwards are counted by hooks in a run of
their own; then everything is timed, interleaved in one process, and a ratio is taken within a
round. The libraries: ``pip install --group benchmark`` and ``pip install --no-deps adv-lib``.

    python tests/benchmarks/adversarial_speed.py [--data DIR] [--n 256] [--rounds 5]
        [--sizes 256 1024 4096] [--quick] [--device cuda] [--write]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import adversarial_card
import torch
from adversarial_confidence import confidence
from adversarial_figures import Point, Row, cost_figure, distances_figure
from adversarial_measure import Outcome, examine, seconds
from adversarial_models import Subject, cifar, digits
from adversarial_rivals import PUBLISHED, Attack, Found, Rival, libraries, published, versions
from adversarial_scaling import scaling
from adversarial_tables import (
    ASCENDING,
    AT_BOUNDARY,
    BF16,
    BRACKET,
    CLOSEST,
    PGD,
    Study,
    scaling_table,
    table,
    verdicts,
)
from torch import Tensor, nn

from amun_plugin import Closest, Engine, Pgd, attack
from harness import UserError
from harness.runs.environment import circumstances

PAGE = Path(__file__).parents[2] / "amun_plugin" / "README.md"
BEGIN, END = "<!-- adversarial_speed.py: begin -->", "<!-- adversarial_speed.py: end -->"
CARD_SAMPLES = 5_000


def ours() -> list[Rival]:
    """The module's own rows."""
    low = Engine(precision="bf16")
    rows = {
        PGD: _own(Pgd()),
        ASCENDING: _own(Pgd(restart="origin", order="ascending")),
        BRACKET: _own(Pgd(restart="origin")),
        **{CLOSEST.format(steps): _own(Closest(steps)) for steps in (6, 10, 20)},
        AT_BOUNDARY: _own(Closest(20, overshoot=0)),
        PGD + BF16: _own(Pgd(), low),
        CLOSEST.format(10) + BF16: _own(Closest(10), low),
    }
    return [Rival(name, "this module", run) for name, run in rows.items()]


def _own(method: Pgd | Closest, engine: Engine | None = None) -> Attack:
    def run(model: nn.Module, images: Tensor, labels: Tensor) -> Found:
        result = attack(model, images, labels, method, engine=engine or Engine())
        counts = (float(each.double().mean()) for each in (result.gradients, result.forwards))
        return Found(result.x, result.radius, tuple(counts))

    return run


def study(subject: Subject, n: int, rounds: int, sizes: Sequence[int], *, quick: bool) -> Study:
    """Counts, then times, everything on one model."""
    images, labels = subject.samples(n)
    others, failed = libraries()
    if quick:
        others = [rival for rival in others if "ALMA 500" not in rival.name]
        failed = [*failed, "adv-lib ALMA 500: too slow for --quick"]
    rivals = [published(1), published(128), *ours(), *others]
    outcomes: dict[str, Outcome] = {}
    for rival in rivals:
        progress(f"{subject.name}: counting {rival.name}")
        try:
            outcomes[rival.name] = examine(subject, rival, images, labels)
        except Exception as error:  # whatever another's library raises
            if rival.kind in ("this module", "published"):
                raise
            failed = [*failed, f"{rival.name}: {type(error).__name__}: {error}"]
    timed = [r for r in rivals if r.name in outcomes and r.name != PUBLISHED]
    progress(f"{subject.name}: timing {len(timed)} attacks in {rounds} rounds")
    times = seconds(subject, timed, images, labels, rounds)
    progress(f"{subject.name}: {sizes} samples")
    wanted = {published(128).name, PGD, BRACKET, CLOSEST.format(10), CLOSEST.format(20)}
    cells = scaling(subject, [r for r in timed if r.name in wanted], sizes, rounds)
    right = float(subject.right.float().mean())
    return Study(subject.name, n, right, outcomes, times, cells, failed)


def figures(studies: Sequence[Study]) -> dict[str, str]:
    """The two pictures by file name."""
    lines, radii, points = {}, {}, {}
    left_out = (published(128).name, ASCENDING)
    for each in studies:
        title = f"{each.name}, n = {each.n}"
        rows = [
            row
            for name, row in each.outcomes.items()
            if name not in left_out and not name.endswith(BF16)
        ]
        lines[title] = [
            Row(_plain_name(row.name), row.kind, row.distance[row.ok].tolist())
            for row in rows
            if row.name in (PUBLISHED, PGD, BRACKET, CLOSEST.format(10), CLOSEST.format(20))
        ]
        assert each.reference.radius is not None
        radii[title] = each.reference.radius.tolist()
        points[title] = [
            Point(
                _plain_name(row.name),
                row.kind,
                row.gradients,
                each.relative(row.name),
                row.success == 1,
            )
            for row in rows
        ]
    return {"distances.svg": distances_figure(lines, radii), "cost.svg": cost_figure(points)}


def _plain_name(name: str) -> str:
    return "published loop" if name == PUBLISHED else name.strip("`")


def progress(what: str) -> None:
    """Says on the error stream what is being done."""
    print(what, file=sys.stderr, flush=True)


def describe(device: torch.device) -> str:
    """The hardware, the versions and the load, in one line."""
    facts = circumstances(device, isolated=False)
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    threads = torch.get_num_threads()
    return (
        f"{facts['hardware']}, {os.cpu_count()} cores, {threads} thread{'s' * (threads > 1)}; "
        f"Python {facts['python']}, {packages}; {versions() or 'no library'}; "
        f"load at the start {os.getloadavg()[0]:.1f}"
    )


def on_cpu(asked: argparse.Namespace, out: Callable[[Iterable[str]], None]) -> dict[str, str]:
    """Measures both models; gives the pictures."""
    device = torch.device("cpu")
    n, rounds = (48, 2) if asked.quick else (asked.n, asked.rounds)
    sizes = (n, 2 * n) if asked.quick else asked.sizes
    makers = {"digits": (partial(digits, asked.cache, device), n)}
    makers["CIFAR-10"] = (partial(cifar, asked.cache, asked.data, device), n // 2)
    studies = []
    for name, (make, count) in makers.items():
        try:
            subject = make()
        except UserError as error:
            out([f"{name}: skipped, {error}\n"])
            continue
        studies.append(study(subject, count, rounds, sizes, quick=asked.quick))
        for part in (verdicts, table, scaling_table):
            out(part(studies[-1]))
        if name == "digits":
            progress(f"{name}: logits multiplied")
            own = [rival for rival in ours() if rival.name in (PGD, CLOSEST.format(10))]
            out(confidence(subject, [published(1), published(32), *own]))
    return figures(studies)


def on_cuda(asked: argparse.Namespace, out: Callable[[Iterable[str]], None]) -> None:
    """Measures the card."""
    try:
        subject = cifar(asked.cache, asked.data, torch.device("cuda"))
    except UserError as error:
        sys.exit(f"adversarial_speed.py: {error}")
    n = min(CARD_SAMPLES, int(subject.right.sum()))
    out(adversarial_card.card(subject, n=n, rounds=asked.rounds))


def rewrite(page: str, block: str) -> str:
    """The page with what stands between the two marks replaced; ValueError where they are not."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{begin}\n{block}\n{end}{after}"


def main() -> None:
    """Measures, prints, and writes where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="a folder with CIFAR-10, as torchvision has it")
    parser.add_argument("--n", type=int, default=256, help="samples; half as many of CIFAR-10")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[256, 1024, 4096], help="samples to time by number"
    )
    parser.add_argument("--quick", action="store_true", help="few samples, to see that it runs")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name} and its pictures")
    cache = Path(tempfile.gettempdir()) / "adversarial-benchmark"
    parser.add_argument("--cache", type=Path, default=cache, help="trained weights (%(default)s)")
    asked = parser.parse_args()
    if asked.quick and asked.write:
        parser.error("--write wants numbers that --quick does not give")
    if asked.device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"adversarial_speed.py: {adversarial_card.NOT_MEASURED}")
    written: list[str] = []

    def out(lines: Iterable[str]) -> None:
        for line in lines:
            print(line, flush=True)
            written.append(line)

    command = " ".join(word for word in sys.argv[1:] if word != "--write")
    out([f"`python tests/benchmarks/adversarial_speed.py {command}`".replace(" `", "`"), ""])
    out([describe(torch.device(asked.device)), ""])
    if asked.device == "cuda":
        on_cuda(asked, out)
        return
    pictures = on_cpu(asked, out)
    out(
        [f"GPU (`--device cuda`): {adversarial_card.NOT_MEASURED}."]
        if not torch.cuda.is_available()
        else []
    )
    print(f"\nLoad at the end {os.getloadavg()[0]:.1f}")
    if asked.write:
        PAGE.write_text(rewrite(PAGE.read_text(), "\n".join(written)))
        for name, picture in pictures.items():
            (PAGE.parent / name).write_text(picture)


if __name__ == "__main__":
    main()
