"""The settings: two attacks, and the engine that runs them, as frozen values."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import torch


@dataclass(frozen=True)
class Pgd:
    """Projected gradient ascent in an L2 ball that grows until the model errs.

    Algorithm 1 of https://arxiv.org/abs/2503.00917. The defaults follow the authors' code;
    ``restart="origin", stop="last"`` is the algorithm as printed.

    Raises TypeError or ValueError for a setting out of range.
    """

    eps_init: float = 0.04
    """Radius of the first ball, in the images' units."""
    steps: int = 50
    """Steps in each ball, at most."""
    step: float = 0.1
    """Length of a step, as a share of the radius."""
    growth: float = 2.0
    """Ratio of each radius to the one before."""
    restart: Literal["warm", "origin"] = "warm"
    """Where a ball starts: at the last point of the ball before, or at the clean image."""
    order: Literal["bracket", "ascending"] = "bracket"
    """In which order balls are tried with ``restart="origin"``: from a guess by one gradient, up or
    down until a ball holds an example and the one below does not; or from the first one upwards.
    The answer is the same. With ``restart="warm"`` the order is always ascending."""
    stop: Literal["first", "last"] = "first"
    """Whether a ball ends at its first wrong point, or only its last point counts."""

    def __post_init__(self) -> None:
        for name in ("eps_init", "step"):
            _check_number(self, name, above=0)
        _check_number(self, "growth", above=1)
        _check_count(self, "steps", least=1)
        _check_choice(self, "restart", ("warm", "origin"))
        _check_choice(self, "order", ("bracket", "ascending"))
        _check_choice(self, "stop", ("first", "last"))


@dataclass(frozen=True)
class Closest:
    """The nearest example that a fixed number of gradients finds.

    DDN (https://arxiv.org/abs/1811.09600), changed: the first radius comes from each sample's own
    margin and gradient, steps are relative to the radius, and in the end the boundary is located on
    the segment to the nearest wrong point.

    Raises TypeError or ValueError for a setting out of range.
    """

    steps: int = 10
    """Gradients per sample."""
    refine: int = 6
    """Forwards spent on locating the boundary between the clean image and the nearest wrong
    point."""
    overshoot: float = 0.02
    """How far to go beyond the boundary, as a share of the distance: right on it, an example flips
    back when it is evaluated in another precision."""

    def __post_init__(self) -> None:
        _check_count(self, "steps", least=1)
        _check_count(self, "refine", least=0)
        _check_number(self, "overshoot", least=0)


@dataclass(frozen=True)
class Engine:
    """How an attack is run; none of it changes a result by more than rounding.

    Raises TypeError or ValueError for a setting out of range.
    """

    batch: int | Literal["auto"] = "auto"
    """Rows in one call of the model; "auto": as many as fit in memory, up to where more no longer
    helps."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """What the attack computes in; every example is verified in the model's own type."""
    fold: bool = True
    """Whether BatchNorms of the private copy are folded into its convolutions."""
    device: str | torch.device | None = None
    """Where the attack runs; None: where the model is."""

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
        raise ValueError(f"device must be available; got {device!r}, but there is no CUDA device")
