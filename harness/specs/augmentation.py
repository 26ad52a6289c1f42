"""What training may do to an image."""

from __future__ import annotations

from dataclasses import dataclass

from harness.specs.checks import Flag, require_own_class, settle

CROP_PADDING = 4
"""Pixels of black border from which a random crop is cut, as in every CIFAR recipe."""


@dataclass(frozen=True)
class Augmentation:
    """What training may do to an image whose row allows it."""

    crop: bool = False
    """Cut the image at a random place from a black border of ``CROP_PADDING`` pixels."""
    flip: bool = False
    """Mirror it left to right, half of the time."""

    def __post_init__(self) -> None:
        require_own_class(self, Augmentation)
        settle(self, "Augmentation", crop=Flag(), flip=Flag())


NO_AUGMENTATION = Augmentation()
