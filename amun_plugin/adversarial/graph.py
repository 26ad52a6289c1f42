"""A step on a GPU as a CUDA graph: launched at once, and rarely waited for."""

from __future__ import annotations

from collections.abc import Callable

import torch

STEPS = 8
"""Steps between two looks of the host at what is done."""
WARM_UP = 3
"""Steps before a capture, for libraries that choose their kernels on first use."""


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """``STEPS`` calls of ``step``, which works in place on tensors that stay where they are.

    The first calls run as they are, then one is captured and from then on replayed. Where torch
    functions are watched (to count their work, say) nothing is captured: replays are not seen.
    """
    watched = torch._C._len_torch_function_stack() > 0
    graph = torch.cuda.CUDAGraph()
    runs = 0

    def plainly() -> None:
        for _ in range(STEPS):
            step()

    def replaying() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            _warm_up(step)
            with torch.cuda.graph(graph):
                step()
        for _ in range(STEPS):
            graph.replay()

    return plainly if watched else replaying


def _warm_up(step: Callable[[], None]) -> None:
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)
