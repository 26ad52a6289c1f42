"""The two models of an attack: the caller's own, left as it was, and a private copy, its twin.

The caller's model labels the clean images and has the last word on every example. The twin is asked
in between: it is frozen, in eval mode, and on the engine's device.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from amun_plugin.adversarial.logits import (
    direction,
    is_negative,
    loss_gradient,
    margin,
    rounding_of,
)

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


class Caller:
    """The caller's model, in its own type; takes images of any floating type on any device."""

    def __init__(self, model: nn.Module, images: Tensor, batch: int) -> None:
        tensors = module_tensors(model)
        floating = [tensor for tensor in tensors if tensor.is_floating_point()]
        self.model = model
        self.batch = batch
        self.device = tensors[0].device if tensors else images.device
        self.dtype = floating[0].dtype if floating else torch.float32
        self.rounding = rounding_of(self.dtype, self.device)
        self.tolerance = 0.1 if self.dtype in (torch.bfloat16, torch.float16) else 0.01
        """How far a row's logits may differ from those in another batch, as a share of the largest:
        far more than rounding does, and far less than a BatchNorm in train mode does."""

    def logits(self, x: Tensor) -> Tensor:
        """``(n, classes)`` float32 for ``(n, *s)``, batch by batch, on the device of ``x``."""
        with torch.no_grad():
            parts = [self(part).to(x.device) for part in torch.split(x, self.batch)]
        return torch.cat(parts)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, classes)`` float32 for one batch, on the model's device."""
        return answer(self.model, x.to(self.device, self.dtype, copy=True))


@contextmanager
def undisturbed(model: nn.Module, *devices: torch.device) -> Iterator[None]:
    """Sets eval mode, gradients on, and autocast off; restores everything, whatever happens.

    Restored are each submodule's mode, the buffers, the global random state, and the grad mode.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module._buffers, name, buffer, buffer.detach().clone(), buffer._version)
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None and not buffer.is_inference()
    ]
    cards = sorted({device.index or 0 for device in devices if device.type == "cuda"})
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.random.fork_rng(devices=cards))
        for kind in {"cpu", *(device.type for device in devices)}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        try:
            model.eval()
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for home, name, buffer, value, version in buffers:
                home[name] = buffer
                if buffer._version != version:
                    buffer.detach().copy_(value)


class Look(NamedTuple):
    """What one forward and gradient tell about each row."""

    logits: Tensor
    """``(n, classes)`` float32."""
    margin: Tensor
    """``(n,)``: the label's logit minus the largest other."""
    finite: Tensor
    """``(n,)`` bool: both logits and gradient are finite."""
    wrong: Tensor
    """``(n,)`` bool: the model errs, by more than rounding."""
    uphill: Tensor
    """``(n, *s)``: the direction of the loss's gradient, at length 1; zero where it is zero."""
    slope: Tensor
    """``(n,)``: the gradient's length."""


class Twin:
    """The model that an attack asks: a private copy, or the caller's own where no copy works."""

    def __init__(
        self, model: nn.Module, device: torch.device, dtype: torch.dtype, *, channels_last: bool
    ) -> None:
        self.model = model
        self.device = device
        self.dtype = dtype
        self.channels_last = channels_last
        self.bf16 = False
        """Whether convolutions and matrix products are computed in bfloat16."""

    def place(self, x: Tensor) -> Tensor:
        """The rows as float32 on this device, in the memory layout that suits the model."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return x.to(self.device, torch.float32).contiguous(memory_format=layout)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, classes)`` float32."""
        own = x.to(self.dtype, copy=True)  # the model may work on its input in place
        if not self.bf16:
            return answer(self.model, own)
        with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False):
            return answer(self.model, own)

    def logits(self, x: Tensor) -> Tensor:
        """``(n, classes)`` float32, without a graph."""
        with torch.no_grad():
            return self(x)

    def look(self, x: Tensor, labels: Tensor, sharpness: Tensor | None = None) -> Look:
        """One forward and one gradient of ``loss`` for every row."""
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
    """A twin that computes in float32 and has the caller's hooks; None if copying fails."""
    try:
        model = copy.deepcopy(caller.model)
        for own, private in zip(caller.model.modules(), model.modules(), strict=True):
            for hooks in HOOKS:  # deepcopy would copy a bound method's object along with the hook
                setattr(private, hooks, OrderedDict(getattr(own, hooks)))
        model.eval().requires_grad_(requires_grad=False).to(device, torch.float32)
        if channels_last:
            model.to(memory_format=torch.channels_last)
    except Exception:  # whatever a stranger's model raises: the attack can do without a copy
        return None
    return Twin(model, device, torch.float32, channels_last=channels_last)


def stand_in(caller: Caller) -> Twin:
    """The caller's own model as its twin, where a copy cannot be used."""
    return Twin(caller.model, caller.device, caller.dtype, channels_last=False)


def module_tensors(model: nn.Module) -> list[Tensor]:
    """All parameters and buffers."""
    return [*model.parameters(), *model.buffers()]


def answer(model: nn.Module, x: Tensor) -> Tensor:
    """The model's logits ``(n, classes)`` as float32; TypeError or ValueError for anything else."""
    logits = model(x)
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        got = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"model must return a floating-point tensor of logits; got {got}")
    if logits.ndim != 2 or len(logits) != len(x) or logits.shape[1] < 2:
        raise ValueError(
            f"model must return logits ({len(x)}, classes >= 2); got shape {tuple(logits.shape)}"
        )
    return logits.float()
