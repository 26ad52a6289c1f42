"""Checks what a loader returned, and describes a data set in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.errors import UserError
from harness.specs.data import Data, DataError, class_names

FEW = 10
"""The most names or numbers that one line lists."""


def vetted(name: str, loaded: Any, channels: int | None = None) -> tuple[Data, Data]:
    """The train and the test set that a loader returned: renumbered, dense and on the CPU.

    Both sets must have images of the same shape and type, in [0, 1] if they are floats, and labels
    that count from 0 without gaps. If a set names its classes, some may lack images. Otherwise
    raises UserError: one line with the data set, what was found and what was expected.
    """
    try:
        _check_pair(loaded)
        train, test = loaded
        _check_shapes(train, test, channels)
        _check_pixels(train, test)
        classes = _classes(train, test)
        _check_labels(train, test, classes)
    except DataError as error:
        raise UserError(f"dataset {name!r}: {error}") from None
    return _cleaned(train, classes), _cleaned(test, classes)


def _cleaned(part: Data, classes: tuple[str, ...]) -> Data:
    images = part.images.detach().to("cpu").contiguous()
    labels = part.labels.detach().to("cpu").contiguous()
    augment = part.augment.to("cpu").contiguous()
    return Data(images, labels, torch.arange(len(part)), augment, classes)


def class_count(train: Data, test: Data) -> int:
    """The number of classes: all that the set names, or else those that have images."""
    return len(train.classes) or largest_label(train, test) + 1


def largest_label(train: Data, test: Data) -> int:
    """The largest label in the two sets."""
    return int(max(train.labels.max(), test.labels.max()))


def described(name: str, train: Data, test: Data) -> str:
    """One line: numbers of images, classes, size, colours, and classes without images."""
    count = class_count(train, test)
    channels, height, width = train.shape
    colours = {1: "grey", 3: "RGB"}.get(channels, f"with {channels} channels")
    line = (
        f"{name}: {len(train)} train and {len(test)} test images of {count} classes "
        f"({classes_text(train.classes, count)}), {width}x{height} {colours}"
    )
    for part, data in (("train", train), ("test", test)):
        empty = [label for label, n in enumerate(_counts(data.labels, count)) if n == 0]
        if empty:
            which = _few([class_text(label, train.classes) for label in empty])
            line += f"; no {part} image of {which}"
    return line


def classes_text(classes: Sequence[str], count: int) -> str:
    """The class names in label order, each with its label if a name could be mistaken for one."""
    if not classes or list(classes) == [str(label) for label in range(count)]:
        return f"0 to {count - 1}"
    if any(is_whole(name) for name in classes):
        return _few([f"{label} is {name!r}" for label, name in enumerate(classes)])
    return _few(classes)


def class_text(label: int, classes: Sequence[str]) -> str:
    """A class by number and name."""
    name = classes[label] if label < len(classes) else ""
    return f"class {label}" + (f" ({name})" if name not in ("", str(label)) else "")


def is_whole(text: str) -> bool:
    """Whether the text is a whole number in ASCII digits."""
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit()


def _few(names: Sequence[str]) -> str:
    if len(names) <= FEW:
        return ", ".join(names)
    return f"{', '.join(names[: FEW - 2])}, … {names[-1]}"


def _counts(labels: Tensor, count: int) -> list[int]:
    found: list[int] = torch.bincount(labels, minlength=count).tolist()
    return found


def _check_pair(loaded: Any) -> None:
    parts = loaded if isinstance(loaded, tuple | list) else [loaded]
    if len(parts) != 2 or not all(isinstance(part, Data) for part in parts):
        found = ", ".join(type(part).__name__ for part in parts)
        raise DataError(
            f"its loader returned ({found}); expected (train, test), each a Data.of(images, labels)"
        )


def _check_shapes(train: Data, test: Data, channels: int | None) -> None:
    if not train.images.numel() or not test.images.numel() or train.shape != test.shape:
        raise DataError(
            f"{len(train)} train images of {train.shape} and {len(test)} test images of "
            f"{test.shape}; expected at least one of each, all of one shape (c, h, w)"
        )
    depth, height, width = train.shape
    if channels not in (None, depth):
        raise DataError(
            f"its images are {train.shape}, (c, h, w); expected the {channels} channels that it "
            f"declares"
        )
    if channels is None and width <= 4 < min(depth, height):
        raise DataError(
            f"its images are (n, {depth}, {height}, {width}), which is {depth} channels of "
            f"{width}x{height} pixels; expected (n, c, h, w): give images.permute(0, 3, 1, 2), or "
            f"Dataset(…, channels={depth}) if these really are channels"
        )


def _check_pixels(train: Data, test: Data) -> None:
    for part, images in (("train", train.images), ("test", test.images)):
        if not images.is_floating_point():
            continue
        low, high = images.aminmax()
        if not (low.isfinite() and high.isfinite()):
            broken = int((~images.isfinite()).flatten(1).any(1).sum())
            raise DataError(
                f"{broken} of {len(images)} {part} images contain nan or infinity; expected [0, 1]"
            )
        if not 0 <= low <= high <= 1:
            raise DataError(
                f"its float images run from {low:g} to {high:g} in the {part} set; expected "
                f"[0, 1], not normalised, or uint8"
            )
    if train.images.dtype != test.images.dtype:
        raise DataError(
            f"its train images are {train.images.dtype} and its test images {test.images.dtype}; "
            f"expected one type"
        )


def _classes(train: Data, test: Data) -> tuple[str, ...]:
    names = {part.classes for part in (train, test) if part.classes}
    if len(names) > 1:
        raise DataError("its train and its test set name different classes; expected the same")
    return class_names(names.pop()) if names else ()


def _check_labels(train: Data, test: Data, classes: tuple[str, ...]) -> None:
    in_train, in_test = ({*part.labels.tolist()} for part in (train, test))
    present = sorted(in_train | in_test)
    if present[0] < 0:
        raise DataError(f"its labels are {_ranges(present)}; labels must count from 0")
    if classes and present[-1] >= len(classes):
        raise DataError(
            f"its labels are {_ranges(present)}, but it names {len(classes)} classes; expected "
            f"0 to {len(classes) - 1}"
        )
    if not classes and present[-1] != len(present) - 1:
        raise DataError(
            f"its {len(present)} labels are {_ranges(present)}; expected 0 to {len(present) - 1}: "
            f"relabel both sets alike, or name every class, Data.of(…, classes=(…)), if some have "
            f"no images"
        )
    if not classes and in_test - in_train:
        raise DataError(
            f"its test set has labels {_ranges(sorted(in_test - in_train))} without any train "
            f"image; remove them, or name every class, Data.of(…, classes=(…))"
        )
    if (len(classes) or len(present)) < 2:
        raise DataError("it has only one class; expected two or more")


def _ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers in short form, such as ``0 to 7, 100``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return _few([" to ".join(map(str, run)) for run in runs])
