"""Counts the forwards and gradients of any attack by hooks on the model that it is given."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass
class Tally:
    """Sample-evaluations so far: rows of batches, padding included."""

    forwards: int = 0
    gradients: int = 0
    """Rows for which a gradient ran back through the logits, once a class where one asks so."""


def counted(model: nn.Module, tally: Tally) -> nn.Module:
    """The same model, with a tap behind its logits.

    Its hook is a function, which ``copy.deepcopy`` keeps by reference, so that an attack's private
    copy of the model counts into the same tally.
    """

    def back(gradient: Tensor) -> None:
        tally.gradients += len(gradient)

    def ahead(_module: nn.Module, _inputs: tuple[Tensor, ...], logits: Tensor) -> None:
        tally.forwards += len(logits)
        if logits.requires_grad:
            logits.register_hook(back)

    tap = nn.Identity()
    tap.register_forward_hook(ahead)
    return nn.Sequential(model, tap).train(model.training)
