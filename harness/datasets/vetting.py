"""What a loader gave, held to what a data set is, and told in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.errors import UserError
from harness.specs.data import Data, DataError, class_names

FEW = 10
"""Names or numbers that one line can hold."""


def vetted(name: str, loaded: Any, channels: int | None = None) -> tuple[Data, Data]:
    """The train and the test set that a loader gave, rows numbered afresh, dense, on the CPU.

    Raises UserError, one line that names the data set, what was found and what is expected, for
    anything but two sets of images of one shape and type, in [0, 1] where they are floats, whose
    labels count from 0 without a gap. A set that names its classes may lack images of some.
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
    return _own(train, classes), _own(test, classes)


def _own(part: Data, classes: tuple[str, ...]) -> Data:
    images = part.images.detach().to("cpu").contiguous()
    columns = part.labels.detach().to("cpu").contiguous(), torch.arange(len(part))
    return Data(images, *columns, part.augment.to("cpu").contiguous(), classes)


def class_count(train: Data, test: Data) -> int:
    """How many a model tells apart: those that the set names, else those that have images."""
    return len(train.classes) or largest_label(train, test) + 1


def largest_label(train: Data, test: Data) -> int:
    """Of both sets."""
    return int(max(train.labels.max(), test.labels.max()))


def described(name: str, train: Data, test: Data) -> str:
    """One line: images, classes by name, size, colours, and classes that lack images."""
    count = class_count(train, test)
    channels, height, width = train.shape
    colours = {1: "grey", 3: "RGB"}.get(channels, f"of {channels} channels")
    line = (
        f"{name}: {len(train)} train and {len(test)} test images of {count} classes "
        f"({told_classes(train.classes, count)}), {width}x{height} {colours}"
    )
    for part, data in (("train", train), ("test", test)):
        empty = [label for label, n in enumerate(_counts(data.labels, count)) if n == 0]
        if empty:
            which = _few([told_class(label, train.classes) for label in empty])
            line += f"; no {part} image of {which}"
    return line


def told_classes(classes: Sequence[str], count: int) -> str:
    """The classes in the order of their labels; with the label where a name may be taken for it."""
    if not classes or list(classes) == [str(label) for label in range(count)]:
        return f"0 to {count - 1}"
    if any(is_whole(name) for name in classes):
        return _few([f"{label} is {name!r}" for label, name in enumerate(classes)])
    return _few(classes)


def told_class(label: int, classes: Sequence[str]) -> str:
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
            f"its loader gave ({found}); expected (train, test), two of Data.of(images, labels)"
        )


def _check_shapes(train: Data, test: Data, channels: int | None) -> None:
    if not train.images.numel() or not test.images.numel() or train.shape != test.shape:
        raise DataError(
            f"{len(train)} train images of {train.shape} and {len(test)} test images of "
            f"{test.shape}; expected some of each, of one shape (c, h, w)"
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
            f"Dataset(…, channels={depth}) if these are channels"
        )


def _check_pixels(train: Data, test: Data) -> None:
    for part, images in (("train", train.images), ("test", test.images)):
        if not images.is_floating_point():
            continue
        low, high = images.aminmax()
        if not (low.isfinite() and high.isfinite()):
            broken = int((~images.isfinite()).flatten(1).any(1).sum())
            raise DataError(
                f"{broken} of {len(images)} {part} images hold nan or infinity; expected [0, 1]"
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
        raise DataError("its train and its test set name other classes; expected the same")
    return class_names(names.pop()) if names else ()


def _check_labels(train: Data, test: Data, classes: tuple[str, ...]) -> None:
    here, there = ({*part.labels.tolist()} for part in (train, test))
    present = sorted(here | there)
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
            f"no image"
        )
    if not classes and there - here:
        raise DataError(
            f"its test set has labels {_ranges(sorted(there - here))}, of which there is no "
            f"train image; take them out, or name every class, Data.of(…, classes=(…))"
        )
    if (len(classes) or len(present)) < 2:
        raise DataError("it has one class alone; expected two or more")


def _ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers, as in ``0 to 7, 100``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return _few([" to ".join(map(str, run)) for run in runs])
