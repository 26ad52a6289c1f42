"""Finds the first of a backbone's candidates that works, by a trial on two images."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from harness.backbones.arguments import EXAMPLE
from harness.backbones.build import OWN_STEM, Design, designs
from harness.backbones.stems import UnfitError
from harness.errors import UserError
from harness.seeds import seeded
from harness.specs.catalog import Backbone
from harness.specs.scenario import Stem

TOLD = 120
"""Characters of a foreign exception that an error repeats."""


def design_backbone(
    name: str,
    backbones: Mapping[str, Backbone],
    *,
    shape: tuple[int, int, int],
    classes: int,
    stem: Stem,
) -> Design:
    """How to build a network for images ``shape`` = (c, h, w), tried on two of them.

    ``name`` is a plugin's or timm's, with settings in brackets. The trial leaves the global
    generators as they were.

    Raises UserError for an unknown name, malformed settings, and a network that cannot work on
    such images.
    """
    candidates = designs(name, backbones, shape=shape, classes=classes, stem=stem)
    return candidates[first_working(name, candidates, shape=shape, classes=classes)]


def first_working(
    name: str, candidates: Sequence[Design], *, shape: tuple[int, int, int], classes: int
) -> int:
    """The position of the first candidate that works on two images.

    Raises UserError where none does. It gives the reason of the own stem, if that was a change, or
    else of the first candidate: the last ones are the furthest from what was asked.
    """
    reasons: dict[str, str] = {}
    for position, design in enumerate(candidates):
        try:
            with seeded(0, "trial of a backbone"):
                _try(design, shape, classes)
        except Exception as error:  # whatever a stranger's network raises
            reasons[design.change] = _reason(error)  # the exception would keep its network alive
        else:
            return position
    advice = f"; try other settings, as in {EXAMPLE}, or another backbone, such as 'resnet18'"
    raise UserError(
        f"backbone {name!r} cannot work on {'x'.join(map(str, shape))} images: "
        f"{reasons.get(OWN_STEM) or next(iter(reasons.values()))}"
        f"{'' if candidates[0].of_plugin else advice}"
    )


@torch.no_grad()
def _try(design: Design, shape: tuple[int, int, int], classes: int) -> None:
    """Runs two images through a new network in both modes; raises what is wrong with it."""
    channels = shape[0]
    model = design.build([0.5] * channels, [0.25] * channels).to(memory_format=torch.channels_last)
    images = torch.rand(2, *shape).contiguous(memory_format=torch.channels_last)
    for training in (True, False):
        logits = model.train(training)(images)
        if not isinstance(logits, Tensor) or not logits.is_floating_point():
            raise UnfitError(f"it returns {type(logits).__name__}, not a tensor of logits")
        if logits.shape != (2, classes):
            raise UnfitError(f"it returns {tuple(logits.shape)} for two images, not {(2, classes)}")


def _reason(error: Exception) -> str:
    """An exception in a few words: its text, or else the line of code that raised it."""
    lines = str(error).strip().splitlines()
    if isinstance(error, UnfitError):
        return lines[0]
    if not lines:
        inside = str(Path(torch.__file__).parent)
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.line or "" for frame in frames if not frame.filename.startswith(inside)][-1:]
    text = f"{type(error).__name__}: {lines[0]}"
    return text if len(text) <= TOLD else f"{text[: TOLD - 1]}…"
