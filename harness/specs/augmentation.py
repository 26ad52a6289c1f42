"""How training augments images."""

from __future__ import annotations

from dataclasses import dataclass

from harness.specs.checks import Flag, require_own_class, settle

CROP_PADDING = 4
"""Width in pixels of the black border added before a random crop, as in every CIFAR recipe."""


@dataclass(frozen=True)
class Augmentation:
    """The augmentations that training applies to every row that allows them."""

    crop: bool = False
    """Pad the image with ``CROP_PADDING`` black pixels, then crop it at a random position."""
    flip: bool = False
    """Flip the image left to right with probability 1/2."""

    def __post_init__(self) -> None:
        require_own_class(self, Augmentation)
        settle(self, "Augmentation", crop=Flag(), flip=Flag())


NO_AUGMENTATION = Augmentation()
