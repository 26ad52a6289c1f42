"""Images and labels as tensors on one device: selecting, joining, batching and augmenting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.specs.augmentation import CROP_PADDING, Augmentation
from harness.specs.checks import Several, Text, shown

SMALL_INTS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32})
"""Types of labels that are converted to int64; a float or a bool is not a label."""


class DataError(ValueError):
    """The tensors do not form a labelled set of images."""


@dataclass(frozen=True, eq=False)
class Data:
    """A labelled set of images; every row keeps its position in the original train set."""

    images: Tensor
    """``(n, c, h, w)``: uint8, or float32 in [0, 1]."""
    labels: Tensor
    """``(n,)`` int64."""
    index: Tensor
    """``(n,)`` int64: the row in the original train set."""
    augment: Tensor
    """``(n,)`` bool: whether training may crop and flip this row."""
    classes: tuple[str, ...] = ()
    """The names of labels 0, 1, …; empty if they have none."""

    def __post_init__(self) -> None:
        _check_images(self.images)
        n = len(self.images)
        for name, dtype in (("labels", "int64"), ("index", "int64"), ("augment", "bool")):
            column: Tensor = getattr(self, name)
            _check_tensor(name, column)
            if column.dtype in SMALL_INTS and name == "labels":
                column = column.long()
                object.__setattr__(self, name, column)
            if column.shape != (n,) or column.dtype != getattr(torch, dtype):
                raise DataError(
                    f"{name} must be ({n},) {dtype}; got {tuple(column.shape)}, {column.dtype}"
                )
            if column.device != self.device:
                raise DataError(
                    f"{name} must be on {self.device}, like the images; got {column.device}"
                )

    @classmethod
    def of(
        cls, images: Tensor, labels: Tensor, *, augment: bool = True, classes: Iterable[str] = ()
    ) -> Data:
        """A fresh data set: its rows are numbered from 0.

        ``classes`` names every label from 0, including labels without images. Raises DataError, a
        ValueError, if the tensors do not form a labelled set of images.
        """
        _check_images(images)
        n = len(images)
        return cls(
            images,
            labels,
            torch.arange(n, device=images.device),
            torch.full((n,), augment, device=images.device),
            class_names(classes),
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
        """The device of every column."""
        return self.images.device

    def select(self, rows: Tensor) -> Data:
        """The given rows (positions or a mask) of every column."""
        at = rows.to(self.device)
        columns = self.images[at], self.labels[at], self.index[at], self.augment[at]
        return Data(*columns, self.classes)

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
            self.classes,
        )


def class_names(names: Any) -> tuple[str, ...]:
    """Class names as a tuple; raises DataError unless they are distinct strings."""
    given = names if isinstance(names, str) else [*names]
    try:
        return Several(Text(), "class names", distinct=True).take(given)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"classes must be distinct names, as in ('cat', 'dog'); got {shown(names)} ({error})"
        ) from None


def _check_images(images: Any) -> None:
    _check_tensor("images", images)
    if images.ndim != 4 or images.dtype not in (torch.uint8, torch.float32):
        raise DataError(
            f"images must be (n, c, h, w), uint8 or float32 in [0, 1]; "
            f"got {tuple(images.shape)}, {images.dtype}"
        )


def _check_tensor(name: str, column: Any) -> None:
    if not isinstance(column, Tensor) or column.layout != torch.strided:
        found = column.layout if isinstance(column, Tensor) else type(column).__name__
        raise DataError(f"{name} must be a dense torch tensor; got {found}; see torch.as_tensor")


def join(*parts: Data) -> Data:
    """All rows in order; the images become float32 if any part is float32.

    Raises ValueError if the images of the parts differ in shape.
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
        parts[0].classes if len({part.classes for part in parts}) == 1 else (),
    )


def as_float(images: Tensor) -> Tensor:
    """Images as float32 in [0, 1]."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def equal_batches(n: int, batch: int) -> list[slice]:
    """⌈n / batch⌉ slices of [0, n) whose sizes differ by at most one.

    Equal sizes avoid a tiny last batch, which would ruin the statistics of BatchNorm.

    Raises ValueError for a batch below 1.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1; got {batch}")
    count = -(-n // batch)
    bounds = [n * i // count for i in range(count + 1)] if count else [0]
    return [slice(low, high) for low, high in pairwise(bounds)]


@dataclass(frozen=True, eq=False)
class Distortions:
    """The random crops and flips of one epoch, one row per image, drawn before the first batch."""

    shift: Tensor
    """``(n, 2)`` int64 in [-CROP_PADDING, CROP_PADDING]: pixels down and right."""
    mirror: Tensor
    """``(n,)`` bool: whether to flip the image."""

    @classmethod
    def draw(cls, augment: Tensor, kind: Augmentation, generator: torch.Generator) -> Distortions:
        """Draws independently for each image; rows that forbid augmentation stay as they are."""
        n = len(augment)
        device = augment.device
        shift = torch.randint(-CROP_PADDING, CROP_PADDING + 1, (n, 2), generator=generator)
        mirror = torch.rand(n, generator=generator) < 0.5
        return cls(
            shift.to(device, non_blocking=True) * (augment & kind.crop)[:, None],
            mirror.to(device, non_blocking=True) & augment & kind.flip,
        )

    def apply(self, images: Tensor, rows: Tensor) -> Tensor:
        """The images ``(b, c, h, w)`` of rows ``(b,)``, each shifted and flipped as drawn."""
        b, c, height, width = images.shape
        pad = CROP_PADDING
        wide = width + 2 * pad
        mirror = self.mirror[rows, None]
        down, right = self.shift[rows].unbind(1)
        across = torch.arange(width, device=images.device)
        across = torch.where(mirror, across.flip(0), across) + (pad - right)[:, None]
        along = torch.arange(height, device=images.device) + (pad - down)[:, None]
        source = (along[:, :, None] * wide + across[:, None, :]).view(b, 1, height * width)
        bordered = F.pad(images, (pad, pad, pad, pad)).flatten(2)
        return bordered.gather(2, source.expand(b, c, height * width)).view(images.shape)
