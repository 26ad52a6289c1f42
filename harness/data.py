"""Images and labels as tensors on one device: select, join, cut into equal batches, augment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.checks import Flag, require_own_class, settle

CROP_PADDING = 4
"""Pixels of black border from which a random crop is cut, as in every CIFAR recipe."""


@dataclass(frozen=True, eq=False)
class Data:
    """A labelled set of images whose rows remember where they came from."""

    images: Tensor
    """``(n, c, h, w)``: uint8, or float32 in [0, 1]."""
    labels: Tensor
    """``(n,)`` int64."""
    index: Tensor
    """``(n,)`` int64: the row in the original train set."""
    augment: Tensor
    """``(n,)`` bool: whether training may crop and flip this row."""

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.ndim != 4 or self.images.dtype not in (torch.uint8, torch.float32):
            raise ValueError(
                f"images must be (n, c, h, w), uint8 or float32 in [0, 1]; "
                f"got {tuple(self.images.shape)}, {self.images.dtype}"
            )
        for name, dtype in (("labels", "int64"), ("index", "int64"), ("augment", "bool")):
            column: Tensor = getattr(self, name)
            if column.shape != (n,) or column.dtype != getattr(torch, dtype):
                raise ValueError(
                    f"{name} must be ({n},) {dtype}; got {tuple(column.shape)}, {column.dtype}"
                )
            if column.device != self.device:
                raise ValueError(
                    f"{name} must be on {self.device}, as the images; got {column.device}"
                )

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, *, augment: bool = True) -> Data:
        """A fresh data set: its rows are numbered from 0."""
        n = len(images)
        return cls(
            images,
            labels,
            torch.arange(n, device=images.device),
            torch.full((n,), augment, device=images.device),
        )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def device(self) -> torch.device:
        """Where every column lies."""
        return self.images.device

    def select(self, rows: Tensor) -> Data:
        """The given rows (positions, or a mask), everything that belongs to them along."""
        at = rows.to(self.device)
        return Data(self.images[at], self.labels[at], self.index[at], self.augment[at])

    def relabel(self, labels: Tensor) -> Data:
        """The same images with other labels."""
        return replace(self, labels=labels)

    def to(self, device: torch.device | str) -> Data:
        """The same data on another device."""
        return Data(
            self.images.to(device),
            self.labels.to(device),
            self.index.to(device),
            self.augment.to(device),
        )


def join(*parts: Data) -> Data:
    """All rows in order; images become float32 as soon as one part is.

    Raises ValueError where the parts have images of different shapes.
    """
    shapes = {part.shape for part in parts}
    if len(shapes) != 1:
        raise ValueError(f"cannot join images of different shapes: {sorted(shapes)}")
    exact = any(part.images.dtype == torch.float32 for part in parts)
    images = [as_float(part.images) if exact else part.images for part in parts]
    return Data(
        torch.cat(images),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.index for part in parts]),
        torch.cat([part.augment for part in parts]),
    )


def as_float(images: Tensor) -> Tensor:
    """float32 in [0, 1], whatever the storage."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def equal_batches(n: int, batch: int) -> list[slice]:
    """⌈n / batch⌉ slices of [0, n) whose sizes differ by at most one.

    A last batch of a handful of images would ruin the statistics of BatchNorm.

    Raises ValueError for a batch below 1.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1; got {batch}")
    count = -(-n // batch)
    bounds = [n * i // count for i in range(count + 1)] if count else [0]
    return [slice(low, high) for low, high in pairwise(bounds)]


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


@dataclass(frozen=True, eq=False)
class Distortions:
    """One epoch's random numbers, a row an image: all of them drawn before the first batch."""

    shift: Tensor
    """``(n, 2)`` int64 in [-CROP_PADDING, CROP_PADDING]: down and right."""
    mirror: Tensor
    """``(n,)`` bool."""

    @classmethod
    def draw(cls, augment: Tensor, kind: Augmentation, generator: torch.Generator) -> Distortions:
        """Independent for each image; none for a row that does not allow it."""
        n, device = len(augment), augment.device
        shift = torch.randint(-CROP_PADDING, CROP_PADDING + 1, (n, 2), generator=generator)
        mirror = torch.rand(n, generator=generator) < 0.5
        return cls(
            shift.to(device, non_blocking=True) * (augment & kind.crop)[:, None],
            mirror.to(device, non_blocking=True) & augment & kind.flip,
        )

    def apply(self, images: Tensor, rows: Tensor) -> Tensor:
        """The images ``(b, c, h, w)`` of these rows ``(b,)``, each moved in its own way."""
        b, c, height, width = images.shape
        pad, wide = CROP_PADDING, width + 2 * CROP_PADDING
        mirror, (down, right) = self.mirror[rows, None], self.shift[rows].unbind(1)
        across = torch.arange(width, device=images.device)
        across = torch.where(mirror, across.flip(0), across) + (pad - right)[:, None]
        along = torch.arange(height, device=images.device) + (pad - down)[:, None]
        source = (along[:, :, None] * wide + across[:, None, :]).view(b, 1, height * width)
        bordered = F.pad(images, (pad, pad, pad, pad)).flatten(2)
        return bordered.gather(2, source.expand(b, c, height * width)).view(images.shape)
