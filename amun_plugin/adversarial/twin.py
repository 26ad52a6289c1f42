"""The private copy of a model that a search asks: frozen, in eval mode, made fast."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor, nn

from amun_plugin.adversarial.caller import Caller, answer
from amun_plugin.adversarial.folding import HOOKS, Folded, find_joints, reaches
from amun_plugin.adversarial.logits import is_wrong, loss_gradient, rounding_of
from amun_plugin.adversarial.settings import Engine
from amun_plugin.adversarial.vectors import direction

FOLDING = 1e-4
"""How far a folded copy's logits may lie from its own before, as a share of the largest."""
MEMORY_SHARE = 0.5
"""Of what is free on a GPU; a search takes no more."""
CPU_MEMORY = 2**30
LARGEST_BATCH = {"cpu": 256, "cuda": 1024}


class Look(NamedTuple):
    """What one forward and gradient tell of each row."""

    logits: Tensor
    """``(n, classes)`` float32."""
    finite: Tensor
    """``(n,)`` bool: logits and gradient are."""
    wrong: Tensor
    """``(n,)`` bool: by more than rounding."""
    uphill: Tensor
    """``(n, *s)``: the loss's gradient at length 1, or zero."""
    slope: Tensor
    """``(n,)``: its length."""


class Twin:
    """A model to search with, on its own device."""

    def __init__(self, model: nn.Module, device: torch.device, *, channels_last: bool) -> None:
        self.model = model
        self.device = device
        self.channels_last = channels_last
        self.precision = torch.float32
        self.row_bytes = 1
        """Memory that the graph of one row's forward holds."""

    @property
    def rounding(self) -> float:
        """How far its logits may be off, as a share of the largest."""
        return rounding_of(self.precision, self.device)

    def place(self, x: Tensor) -> Tensor:
        """The rows as float32 on this device, in the layout that it works in."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return x.to(self.device, torch.float32).contiguous(memory_format=layout)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, classes)`` float32."""
        low = self.precision == torch.bfloat16
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low, cache_enabled=False):
            return answer(self.model, x)

    def logits(self, x: Tensor) -> Tensor:
        """The same, without a graph."""
        with torch.no_grad():
            return self(x)

    def look(self, x: Tensor, labels: Tensor) -> Look:
        """One forward and gradient of each row."""
        x = x.detach().requires_grad_()
        graph = self(x)
        logits = graph.detach()
        (gradient,) = torch.autograd.grad(graph, x, loss_gradient(logits, labels))
        uphill, slope = direction(gradient)
        return Look(
            logits=logits,
            finite=logits.isfinite().all(1) & slope.isfinite(),
            wrong=is_wrong(logits, labels, self.rounding),
            uphill=uphill,
            slope=slope,
        )

    def batch(self, engine: Engine) -> int:
        """Rows in one call: what the engine says, or a power of two that the memory bears."""
        if engine.batch != "auto":
            return engine.batch
        free = CPU_MEMORY
        if self.device.type == "cuda":
            free = int(torch.cuda.mem_get_info(self.device)[0] * MEMORY_SHARE)
        rows = max(1, free // self.row_bytes)
        return min(LARGEST_BATCH.get(self.device.type, 256), 1 << (rows.bit_length() - 1))


def make_twin(caller: Caller, image: Tensor, logits: Tensor, engine: Engine) -> tuple[Twin, int]:
    """A twin of the caller's model, tried on one image ``(1, *s)``, and the forwards spent on it.

    ``logits`` ``(1, classes)`` is what the caller's model said of the image among others. Where the
    model cannot be copied it is its own twin.

    Raises ValueError for a model whose answer depends on the batch, or has no gradient path.
    """
    device = caller.device if engine.device is None else torch.device(engine.device)
    twin = _copy(caller, device, image)
    return twin, _prepare(twin, image, logits, engine)


def _copy(caller: Caller, device: torch.device, image: Tensor) -> Twin:
    channels_last = image.ndim == 4
    model = copy.deepcopy(caller.model)
    for own, private in zip(caller.model.modules(), model.modules(), strict=True):
        for hooks in HOOKS:
            setattr(private, hooks, OrderedDict(getattr(own, hooks)))
    model.eval().requires_grad_(requires_grad=False).to(device, torch.float32)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    return Twin(model, device, channels_last=channels_last)


def _prepare(twin: Twin, image: Tensor, logits: Tensor, engine: Engine) -> int:
    x = twin.place(image).detach().requires_grad_()
    joints, alone = find_joints(twin.model, lambda: twin(x))
    assert reaches(alone, x)
    del logits
    spent = 1
    if engine.fold and joints:
        folded = Folded(twin.model, joints)
        twin.model = folded
        spent += 1
        if not _agree(twin.logits(twin.place(image)), alone, FOLDING):
            folded.unfold()
    if engine.precision == "bf16":
        twin.precision = torch.bfloat16
    return spent


def _agree(left: Tensor, right: Tensor, tolerance: float) -> bool:
    return bool((left - right).abs().max() <= tolerance * right.abs().max())
