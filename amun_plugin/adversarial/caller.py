"""The caller's own model: asked for clean labels and for the last word, and left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from amun_plugin.adversarial.logits import rounding_of


class Caller:
    """The model in eval mode and in its own type, for images of any type on any device."""

    def __init__(self, model: nn.Module, images: Tensor, batch: int) -> None:
        tensors = module_tensors(model)
        floating = [tensor for tensor in tensors if tensor.is_floating_point()]
        self.model = model
        self.batch = batch
        self.device = tensors[0].device if tensors else images.device
        self.dtype = floating[0].dtype if floating else torch.float32
        self.rounding = rounding_of(self.dtype, self.device)
        self.tolerance = 0.1 if self.dtype in (torch.bfloat16, torch.float16) else 0.01
        """How far a row's logits may lie from those that it has in another batch, as a share of the
        largest: far above rounding, and far below what a BatchNorm in train mode does."""

    def logits(self, x: Tensor) -> Tensor:
        """``(n, classes)`` float32 of ``(n, *s)``, batch by batch, where ``x`` lies."""
        with torch.no_grad():
            parts = [self(part).to(x.device) for part in torch.split(x, self.batch)]
        return torch.cat(parts)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, classes)`` float32 of one batch, on the model's device."""
        return answer(self.model, x.to(self.device, self.dtype, copy=True))


def module_tensors(model: nn.Module) -> list[Tensor]:
    """All parameters and buffers."""
    return [*model.parameters(), *model.buffers()]


def answer(model: nn.Module, x: Tensor) -> Tensor:
    """The model's logits ``(n, classes)`` as float32; TypeError or ValueError for anything else."""
    logits = model(x)
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        got = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"model must give a floating tensor of logits; got {got}")
    if logits.ndim != 2 or len(logits) != len(x) or logits.shape[1] < 2:
        raise ValueError(
            f"model must give logits ({len(x)}, classes >= 2); got shape {tuple(logits.shape)}"
        )
    return logits.float()


@contextmanager
def undisturbed(model: nn.Module, *devices: torch.device) -> Iterator[None]:
    """Eval mode, gradients on, autocast off; at the end all is as before, whatever happened.

    That is each submodule's mode, the buffers, the global random state and the grad mode.
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
