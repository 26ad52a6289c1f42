"""The private copy of a model that a search asks: frozen, in eval mode, on the search's device."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor, nn

from amun_plugin.adversarial.caller import Caller, answer
from amun_plugin.adversarial.logits import is_negative, loss_gradient, margin
from amun_plugin.adversarial.vectors import direction

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


class Look(NamedTuple):
    """What one forward and gradient tell of each row."""

    logits: Tensor
    """``(n, classes)`` float32."""
    margin: Tensor
    """``(n,)``: the label's logit less the largest other."""
    finite: Tensor
    """``(n,)`` bool: logits and gradient are."""
    wrong: Tensor
    """``(n,)`` bool: by more than rounding."""
    uphill: Tensor
    """``(n, *s)``: the loss's gradient at length 1, or zero."""
    slope: Tensor
    """``(n,)``: its length."""


class Twin:
    """A model to search with."""

    def __init__(
        self, model: nn.Module, device: torch.device, dtype: torch.dtype, *, channels_last: bool
    ) -> None:
        self.model = model
        self.device = device
        self.dtype = dtype
        self.channels_last = channels_last
        self.bf16 = False
        """Whether convolutions and products are computed in bfloat16."""

    def place(self, x: Tensor) -> Tensor:
        """The rows as float32 on this device, in the layout that it works in."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return x.to(self.device, torch.float32).contiguous(memory_format=layout)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, classes)`` float32."""
        own = x.to(self.dtype, copy=True)  # for the model may work on it in place
        if not self.bf16:
            return answer(self.model, own)
        with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False):
            return answer(self.model, own)

    def logits(self, x: Tensor) -> Tensor:
        """The same, without a graph."""
        with torch.no_grad():
            return self(x)

    def look(self, x: Tensor, labels: Tensor, sharpness: Tensor | None = None) -> Look:
        """One forward and gradient of each row."""
        x = x.detach().requires_grad_()
        graph = self(x)
        logits = graph.detach()
        (gradient,) = torch.autograd.grad(graph, x, loss_gradient(logits, labels, sharpness))
        uphill, slope = direction(gradient)
        margins = margin(logits, labels)
        return Look(
            logits=logits,
            margin=margins,
            finite=logits.isfinite().all(1) & slope.isfinite(),
            wrong=is_negative(margins, logits),
            uphill=uphill,
            slope=slope,
        )


def private_copy(caller: Caller, device: torch.device, *, channels_last: bool) -> Twin | None:
    """A twin that computes in float32, with the caller's hooks; none where there is no copying."""
    try:
        model = copy.deepcopy(caller.model)
        for own, private in zip(caller.model.modules(), model.modules(), strict=True):
            for hooks in HOOKS:  # a hook that is a method would be copied with its object
                setattr(private, hooks, OrderedDict(getattr(own, hooks)))
        model.eval().requires_grad_(requires_grad=False).to(device, torch.float32)
        if channels_last:
            model.to(memory_format=torch.channels_last)
    except Exception:  # whatever a stranger's model raises: the search can do without
        return None
    return Twin(model, device, torch.float32, channels_last=channels_last)


def stand_in(caller: Caller) -> Twin:
    """The caller's own model as its twin, where it cannot be copied."""
    return Twin(caller.model, caller.device, caller.dtype, channels_last=False)
