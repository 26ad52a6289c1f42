"""Times the module on a GPU, and sets it against the card's measured rate of matrix products."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import torch
from adversarial_measure import clock, judge
from adversarial_models import Subject
from adversarial_rivals import plain
from adversarial_scaling import private_copy
from torch.utils.flop_counter import FlopCounterMode

from amun_plugin import Closest, Engine, Pgd, attack

NOT_MEASURED = "not measured: no CUDA device"
SIDE = 8192
"""Rows and columns of the matrices whose product tells the card's rate."""
LIMITS = {"Closest(10)": 2.0, "Pgd()": 10.0}
"""Seconds."""


def card(subject: Subject, *, n: int, rounds: int, side: int = SIDE) -> Iterable[str]:
    """A table of seconds and of the share of the matrix rate, and the verdicts."""
    images, labels = subject.samples(n)
    device = images.device
    peak = {dtype: matrix_rate(device, dtype, side) for dtype in (torch.float32, torch.bfloat16)}
    flops = gradient_flops(subject, images)
    yield f"### {subject.name}, ResNet-18, n = {n}, {device.type}\n"
    yield (
        f"Matrix product of {side}: {peak[torch.float32] / 1e12:.0f} TFLOP/s in float32 as torch "
        f"sets it, {peak[torch.bfloat16] / 1e12:.0f} in bfloat16. One forward and input-gradient: "
        f"{flops / 1e9:.2f} GFLOP a sample.\n"
    )
    yield "| attack | seconds (range; rounds) | gradients | success | median L2 | matrix rate |"
    yield "|---|---|---|---|---|---|"
    reached = {}
    methods = {"Closest(10)": Closest(10), "Closest(20)": Closest(20), "Pgd()": Pgd()}
    methods['Pgd(restart="origin")'] = Pgd(restart="origin")
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        engine = Engine(precision=precision)
        for name, method in methods.items():
            result = attack(subject.model, images, labels, method, engine=engine)
            times = [
                clock(
                    lambda m=method, e=engine: attack(subject.model, images, labels, m, engine=e),
                    device,
                )
                for _ in range(rounds)
            ]
            reached.setdefault(name, {})[precision] = times
            gradients = float(result.gradients.float().mean())
            ok, _, distance = judge(subject.model, images, labels, result.x)
            middle = statistics.median(times)
            share = gradients * n * flops / middle / peak[dtype]
            yield (
                f"| `{name}`, {precision} | {middle:.2f} ({min(times):.2f} – {max(times):.2f}; "
                f"{rounds}) | {gradients:.1f} | {float(ok.float().mean()):.4f} "
                f"| {float(distance.median()):.4f} | {share:.1%} |"
            )
    spent = clock(lambda: plain(subject.model, images, labels, batch=128), device)
    yield f"| published loop, batches of 128 | {spent:.2f} (1 round) | – | – | – | – |\n"
    for name, limit in LIMITS.items():
        for precision, times in reached[name].items():
            middle = statistics.median(times)
            met = "met" if middle < limit else "**MISSED**"
            yield f"- `{name}`, {precision}: {middle:.2f} s; target under {limit:g} s: {met}"


def matrix_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """Floating-point operations a second of a square matrix product: the best of five."""
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    left @ right
    best = min(clock(lambda: left @ right, device) for _ in range(5))
    return 2 * side**3 / best


def gradient_flops(subject: Subject, images: torch.Tensor) -> float:
    """Operations of one forward and input-gradient of one sample by the engine's private copy."""
    twin = private_copy(subject, images[:8])
    x = twin.place(images[:8])
    counter = FlopCounterMode(display=False)
    with counter:
        twin.model(x).sum().backward()  # the copy is frozen; the counter bars autograd.grad
    return counter.get_total_flops() / len(x)
