"""Makes the networks of a scenario: fresh ones, and ones with given weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from harness.backbones.candidates import Design
from harness.seeds import seeded
from harness.training.flops import forward_flops


@dataclass(frozen=True, eq=False)
class Network:
    """How models of one scenario are made; no image is in it, so that a method may have it."""

    design: Design
    mean: tuple[float, ...]
    """Of each channel, in units of [0, 1]."""
    std: tuple[float, ...]
    shape: tuple[int, int, int]
    """Of one image: channels, height, width."""
    device: torch.device

    def fresh(self, seed: int, purpose: str) -> nn.Module:
        """A freshly initialised model on the device, the same one for the same seed and purpose."""
        with seeded(seed, purpose):
            model = self.design.build(self.mean, self.std)
        return model.to(self.device)

    def series(self, seed: int, purpose: str) -> Callable[[], nn.Module]:
        """A function that gives a freshly initialised model, another one at each call."""
        drawn = 0

        def untrained() -> nn.Module:
            nonlocal drawn
            drawn += 1
            return self.fresh(seed, f"{purpose}/{drawn}")

        return untrained

    def loaded(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """The model of these weights, in eval mode on the device."""
        model = self.fresh(0, "to be overwritten")
        model.load_state_dict(dict(weights))
        return model.eval()

    @cached_property
    def unit(self) -> int:
        """The work of one forward of one image."""
        image = torch.zeros(1, *self.shape, device=self.device)
        return forward_flops(self.fresh(0, "to be weighed"), image)
