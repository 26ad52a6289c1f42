"""Any folder of images, a subfolder a class, as uint8 tensors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import functional as TF

from harness.data import Data
from harness.errors import UserError
from harness.seeds import stream

LIMIT = 4 * 2**30
"""Bytes of uint8 images that a folder may come to: they lie in memory, or on the GPU."""
TEST_SHARE = 0.2

Sample = tuple[str, int]
"""Path and label."""


def load_folder(given: str) -> tuple[Data, Data]:
    """The images of ``PATH`` or, resized to 32 px, of ``PATH@32``.

    ``PATH/train`` and ``PATH/test`` (or ``val``) where they exist; else the class folders lie in
    ``PATH`` itself, and a fixed fifth of each class is the test set. Images stay grey where all
    are; transparency is dropped. Raises UserError for anything that stands in the way.
    """
    path, side = _parse(given)
    train, test = _samples(path)
    files = [name for name, _ in (*train, *test)]
    mode, size = _look(files, side)
    amount = len(files) * len(mode) * size[0] * size[1]
    if amount > LIMIT:
        raise UserError(
            f"folder:{given} comes to {amount / 2**30:.1f} GiB of pixels; at most "
            f"{LIMIT / 2**30:.0f} GiB fit. Give a smaller size, as folder:{path}@32"
        )
    return _read(train, mode, side), _read(test, mode, side)


def _parse(given: str) -> tuple[Path, int | None]:
    found = re.fullmatch(r"(.*?)(?:@(\d+))?", given, re.DOTALL)
    if found is None or not found[1]:
        raise UserError(f"folder:{given} names no folder; expected folder:PATH or folder:PATH@32")
    path, side = Path(found[1]), int(found[2]) if found[2] else None
    if not path.is_dir():
        raise UserError(f"folder:{given}: there is no folder {path.absolute()}")
    if side is not None and not 4 <= side <= 1024:
        raise UserError(f"folder:{given}: the size after @ must be 4 to 1024 px; got {side}")
    return path, side


def _samples(path: Path) -> tuple[list[Sample], list[Sample]]:
    first = path / "train"
    second = next((path / name for name in ("test", "val") if (path / name).is_dir()), None)
    if not first.is_dir() or (
        second is None and not any(item.is_dir() for item in first.iterdir())
    ):
        return _parted(path, _image_folder(path).samples)  # a class may well be called "train"
    if second is None:
        raise UserError(f"folder:{path}: {first} holds classes; expected test or val beside it")
    train, test = _image_folder(first), _image_folder(second)
    if train.classes != test.classes:
        odd = sorted({*train.classes} ^ {*test.classes})
        raise UserError(f"folder:{path}: train and test differ in their classes: {odd[:5]}")
    return train.samples, test.samples


def _image_folder(path: Path) -> ImageFolder:
    expected = "expected a subfolder a class with images in each, two or more"
    try:
        found = ImageFolder(str(path))
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"folder:{path}: {reason}; {expected}") from None
    if len(found.classes) < 2:
        raise UserError(f"folder:{path} has one class alone, {found.classes[0]!r}; {expected}")
    return found


def _parted(path: Path, samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    generator = stream(0, "folder/split")
    train, test = [], []
    for label in sorted({label for _, label in samples}):
        own = [sample for sample in samples if sample[1] == label]
        order = torch.randperm(len(own), generator=generator).tolist()
        count = round(TEST_SHARE * len(own))
        test += [own[i] for i in sorted(order[:count])]
        train += [own[i] for i in sorted(order[count:])]
    if not test:
        raise UserError(
            f"folder:{path}: too few images for a test set; expected at least 3 in some class"
        )
    return train, test


def _look(files: Sequence[str], side: int | None) -> tuple[str, tuple[int, int]]:
    """The common mode, ``L`` or ``RGB``, and size (width, height), from the files' heads."""
    sizes: dict[tuple[int, int], str] = {}
    grey = True
    for name in files:
        with _opened(name) as image:
            if image.mode.startswith(("I", "F")):
                raise UserError(
                    f"the image {name} has pixels of mode {image.mode}; expected 8 bits a channel"
                )
            sizes.setdefault(image.size, name)
            grey &= image.mode in ("1", "L", "LA")
    if side is not None:
        return "L" if grey else "RGB", (side, side)
    if len(sizes) > 1:
        (one, first), (other, second), *_ = sizes.items()
        raise UserError(
            f"images differ in size: {first} is {one[0]}×{one[1]}, {second} {other[0]}×{other[1]}; "
            f"give one, as folder:PATH@32"
        )
    return "L" if grey else "RGB", next(iter(sizes))


def _read(samples: Sequence[Sample], mode: str, side: int | None) -> Data:
    images = torch.stack([_pixels(name, mode, side) for name, _ in samples])
    return Data.of(images, torch.tensor([label for _, label in samples]))


def _pixels(name: str, mode: str, side: int | None) -> Tensor:
    with _opened(name) as image:
        image.info.pop("transparency", None)  # of a palette's, Pillow warns
        picture = image.convert(mode)
    if side is not None:
        picture = TF.center_crop(TF.resize(picture, side), [side, side])
    pixels: Tensor = transforms.PILToTensor()(picture)
    return pixels


@contextmanager
def _opened(name: str) -> Iterator[Image.Image]:
    try:
        with Image.open(name) as image:
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0]  # Pillow's words for files that are none of its own
        raise UserError(f"cannot read the image {name}: {reason}") from None
