"""Reads image files as uint8 tensors of one size, after inspecting their headers."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from harness.errors import UserError

GREY = frozenset({"1", "L", "LA", "La"})
COLOURED = frozenset({"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"})
ORIENTATION = 0x0112
"""The EXIF tag of the camera's orientation: 1 is upright, 5 to 8 swap width and height."""

BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    struct.error,
    EOFError,
    KeyError,
    TypeError,
    Image.DecompressionBombError,
)
"""The errors that Pillow raises for files that are not intact images."""


@dataclass
class Inspection:
    """What the headers of all files say."""

    mode: str = "L"
    """``L`` if all images are grey, else ``RGB``."""
    sizes: dict[tuple[int, int], str] = field(default_factory=dict)
    """Upright size (width, height) → the first file with this size."""
    changes: Counter[str] = field(default_factory=Counter)
    """A change that reading makes, worth reporting → how many files it affects."""


SEVERAL = "have several frames, of which only the first is read"
TURNED = "are turned upright according to their EXIF data"
DEEP = "have 16 bits per channel, of which only the upper 8 are read"


def inspected(files: Sequence[str]) -> Inspection:
    """The files' common mode, sizes and changes; raises UserError for unsupported pixels."""
    found = Inspection()
    for name in files:
        with _opened(name) as image:
            if image.mode not in GREY | COLOURED:
                raise UserError(
                    f"the image {name} has pixels of mode {image.mode}; expected 8 bits per "
                    f"channel, in grey, RGB, CMYK or with a palette"
                )
            orientation = _orientation(image)
            # Pillow already applies the orientation to the size of a TIFF
            swapped = orientation >= 5 and image.format != "TIFF"
            found.sizes.setdefault(image.size[::-1] if swapped else image.size, name)
            found.mode = "L" if found.mode == "L" and image.mode in GREY else "RGB"
            found.changes[SEVERAL] += bool(getattr(image, "is_animated", False))
            found.changes[TURNED] += orientation > 1
            found.changes[DEEP] += ";16" in str(getattr(image, "tile", ""))
    return found


def _orientation(image: Image.Image) -> int:
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would have to read all pixels to find it
    found = image.getexif().get(ORIENTATION, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def read(files: Sequence[str], mode: str, side: int | None) -> Tensor:
    """``(n, c, h, w)``: upright, without transparency, resized to ``side`` and centre-cropped."""
    first = _pixels(files[0], mode, side)
    images = torch.empty(len(files), *first.shape, dtype=torch.uint8)
    for row, name in enumerate(files):
        pixels = _pixels(name, mode, side)
        if pixels.shape != first.shape:
            raise UserError(size_mismatch(files[0], _size(first), name, _size(pixels)))
        images[row] = pixels
    return images


def size_mismatch(
    first: str, first_size: tuple[int, int], second: str, second_size: tuple[int, int]
) -> str:
    """The error message for two images whose sizes (width, height) differ."""
    width, height = first_size
    other_width, other_height = second_size
    return (
        f"images differ in size: {first} is {width}×{height}, {second} is "
        f"{other_width}×{other_height}; give one size, as in folder:PATH@32"
    )


def _size(pixels: Tensor) -> tuple[int, int]:
    return pixels.shape[2], pixels.shape[1]


def _pixels(name: str, mode: str, side: int | None) -> Tensor:
    from torchvision.transforms import functional as TF

    with _opened(name) as image:
        image.info.pop("transparency", None)  # Pillow warns about a palette's transparency
        picture = ImageOps.exif_transpose(image).convert(mode)
    if side is not None:
        picture = TF.center_crop(TF.resize(picture, side), [side, side])
    pixels: Tensor = TF.pil_to_tensor(picture)
    return pixels


def is_image(name: str) -> bool:
    """Whether the file is an image, by its extension or by its content."""
    if name.lower().endswith(_extensions()):
        return True
    try:
        with Image.open(name):
            return True
    except UnidentifiedImageError:
        return False
    except BROKEN:
        return True  # a corrupt image or a dangling link: reading it will report what is wrong


@cache
def _extensions() -> tuple[str, ...]:
    """The extensions of all formats that Pillow can read, such as ``.png``."""
    known = Image.registered_extensions()
    return tuple(extension for extension, form in known.items() if form in Image.OPEN)


@contextmanager
def _opened(name: str) -> Iterator[Image.Image]:
    try:
        with Image.open(name) as image:
            yield image
    except BROKEN as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"cannot read the image {name}: {reason}") from None
