"""Image files as uint8 tensors of one size: looked at first, then read upright."""

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
"""The EXIF tag that says how the camera was held: 1 is upright, 5 to 8 lie on their side."""

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
"""What Pillow raises of files that are no sound images."""


@dataclass
class Look:
    """What the heads of all files say."""

    mode: str = "L"
    """``L`` where all images are grey, else ``RGB``."""
    sizes: dict[tuple[int, int], str] = field(default_factory=dict)
    """Size (width, height), upright → the first file that has it."""
    peculiar: Counter[str] = field(default_factory=Counter)
    """What a reader of the files must be told → how many files are so."""


SEVERAL = "hold several frames, of which the first is read"
TURNED = "are turned upright, as their EXIF says"
DEEP = "have 16 bits a channel, of which the upper 8 are read"


def looked_at(files: Sequence[str]) -> Look:
    """The common mode, all sizes, what is peculiar; raises UserError for pixels it cannot use."""
    look = Look()
    for name in files:
        with _opened(name) as image:
            if image.mode not in GREY | COLOURED:
                raise UserError(
                    f"the image {name} has pixels of mode {image.mode}; expected 8 bits a channel, "
                    f"grey, RGB, CMYK or of a palette"
                )
            orientation = _orientation(image)
            # of a TIFF's size Pillow has taken that into account
            swapped = orientation >= 5 and image.format != "TIFF"
            look.sizes.setdefault(image.size[::-1] if swapped else image.size, name)
            look.mode = "L" if look.mode == "L" and image.mode in GREY else "RGB"
            look.peculiar[SEVERAL] += bool(getattr(image, "is_animated", False))
            look.peculiar[TURNED] += orientation > 1
            look.peculiar[DEEP] += ";16" in str(getattr(image, "tile", ""))
    return look


def _orientation(image: Image.Image) -> int:
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # to look behind the pixels would be to read them
    found = image.getexif().get(ORIENTATION, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def read(files: Sequence[str], mode: str, side: int | None) -> Tensor:
    """``(n, c, h, w)``: upright, without transparency; scaled on the shorter side and cut."""
    first = _pixels(files[0], mode, side)
    images = torch.empty(len(files), *first.shape, dtype=torch.uint8)
    for row, name in enumerate(files):
        pixels = _pixels(name, mode, side)
        if pixels.shape != first.shape:
            raise UserError(differing(files[0], _size(first), name, _size(pixels)))
        images[row] = pixels
    return images


def differing(first: str, one: tuple[int, int], second: str, other: tuple[int, int]) -> str:
    """The words for two images whose sizes (width, height) are not the same."""
    return (
        f"images differ in size: {first} is {one[0]}×{one[1]}, {second} {other[0]}×{other[1]}; "
        f"give one, as folder:PATH@32"
    )


def _size(pixels: Tensor) -> tuple[int, int]:
    return pixels.shape[2], pixels.shape[1]


def _pixels(name: str, mode: str, side: int | None) -> Tensor:
    from torchvision.transforms import functional as TF

    with _opened(name) as image:
        image.info.pop("transparency", None)  # of a palette's, Pillow warns
        picture = ImageOps.exif_transpose(image).convert(mode)
    if side is not None:
        picture = TF.center_crop(TF.resize(picture, side), [side, side])
    pixels: Tensor = TF.pil_to_tensor(picture)
    return pixels


def is_image(name: str) -> bool:
    """Whether the file claims to be an image by its name, or is one whatever its name."""
    if name.lower().endswith(_extensions()):
        return True
    try:
        with Image.open(name):
            return True
    except UnidentifiedImageError:
        return False
    except BROKEN:
        return True  # it is one, or a link to nowhere: to read it will say what is wrong


@cache
def _extensions() -> tuple[str, ...]:
    """Of all formats that Pillow reads, as in ``.png``."""
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
