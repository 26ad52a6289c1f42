"""What can be set: the two searches and the engine that runs them, as frozen values."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import torch


@dataclass(frozen=True)
class Pgd:
    """Projected gradient ascent in an L2 ball that grows until the model errs.

    Algorithm 1 of https://arxiv.org/abs/2503.00917. The defaults are the trajectory of the authors'
    code; ``restart="origin", stop="last"`` is the algorithm as printed.
    """

    eps_init: float = 0.04
    """The first radius, in the images' units."""
    steps: int = 50
    """Steps a radius."""
    step: float = 0.1
    """Length of a step, as a share of the radius."""
    growth: float = 2.0
    """A radius over the one before."""
    restart: Literal["warm", "origin"] = "warm"
    """Where a radius begins: at the last point of the radius before, or at the clean image."""
    search: Literal["bracket", "ascending"] = "bracket"
    """How the radius is found with ``restart="origin"``: from a guess by one gradient, up or down
    until a radius succeeds and the one below fails; or from the first radius upwards."""
    stop: Literal["first", "last"] = "first"
    """Whether a radius ends at its first wrong point, or only its last point is looked at."""

    def __post_init__(self) -> None:
        for name in ("eps_init", "step"):
            _check_number(self, name, above=0)
        _check_number(self, "growth", above=1)
        _check_count(self, "steps", least=1)
        _check_choice(self, "restart", ("warm", "origin"))
        _check_choice(self, "search", ("bracket", "ascending"))
        _check_choice(self, "stop", ("first", "last"))


@dataclass(frozen=True)
class Closest:
    """The nearest example that a fixed number of gradients finds.

    DDN (https://arxiv.org/abs/1811.09600) with a first radius from each sample's own margin and
    gradient, steps relative to the radius, and a search of the boundary along the last segment.
    """

    steps: int = 10
    """Gradients a sample."""
    refine: int = 6
    """Forwards spent to find the boundary between the clean image and the nearest wrong point."""
    overshoot: float = 0.02
    """How far beyond the boundary to go, as a share of the distance; nearest is brittle."""

    def __post_init__(self) -> None:
        _check_count(self, "steps", least=1)
        _check_count(self, "refine", least=0)
        _check_number(self, "overshoot", least=0)


@dataclass(frozen=True)
class Engine:
    """How a search is run; none of it changes a result by more than rounding."""

    batch: int | Literal["auto"] = "auto"
    """Rows in one call of the model; auto: as many as fit the memory, and no more than help."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """What the search computes in; every example is verified in the model's own type."""
    fold: bool = True
    """Whether the search's private copy has its BatchNorm folded into the convolutions."""
    device: str | torch.device | None = None
    """Where the search runs; none: where the model is."""

    def __post_init__(self) -> None:
        if self.batch != "auto":
            _check_count(self, "batch", least=1)
        _check_choice(self, "precision", ("fp32", "bf16"))
        if not isinstance(self.fold, bool):
            raise TypeError(f"fold must be a bool; got {self.fold!r}")
        if self.device is not None:
            _check_device(self.device)


def _check_number(
    settings: Any, name: str, *, above: float | None = None, least: float | None = None
) -> None:
    value = getattr(settings, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number; got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite; got {value!r}")
    if above is not None and value <= above:
        raise ValueError(f"{name} must be above {above}; got {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least}; got {value!r}")


def _check_count(settings: Any, name: str, *, least: int) -> None:
    value = getattr(settings, name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int; got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}; got {value!r}")


def _check_choice(settings: Any, name: str, choices: Collection[str]) -> None:
    value = getattr(settings, name)
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")


def _check_device(device: str | torch.device) -> None:
    try:
        known = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device must name a torch device; got {device!r}") from error
    if known.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device must be one that is there; got {device!r}, and CUDA is not")
