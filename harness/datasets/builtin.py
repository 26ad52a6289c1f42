"""The built-in data sets, as uint8 tensors: scikit-learn's digits and torchvision's."""

from __future__ import annotations

import contextlib
import hashlib
import io
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.datasets.vetting import described, largest_label, vetted
from harness.errors import UnknownNameError, UserError, unknown
from harness.plugins.hookspecs import hookimpl
from harness.seeds import stream
from harness.specs.catalog import Dataset
from harness.specs.data import Data, DataError

DIGITS_SIDE = 16
DIGITS_TRAIN = 1000
NOISE = 0.2
FOLDER = "folder:"
CIFAR100_20 = (
    "apple",
    "bed",
    "bridge",
    "castle",
    "chair",
    "couch",
    "flatfish",
    "hamster",
    "maple_tree",
    "mouse",
    "oak_tree",
    "orange",
    "pear",
    "pine_tree",
    "rabbit",
    "ray",
    "road",
    "shark",
    "sweet_pepper",
    "willow_tree",
)
"""The six classes of the published rows on CIFAR-100, and 14 others of their superclasses."""


def load_dataset(
    name: str,
    datasets: Mapping[str, Dataset],
    root: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Data, Data]:
    """The train and the test set with this name, on the CPU; ``folder:PATH`` is any image folder.

    Rows are renumbered from 0, because a loader may have selected them from a larger set. ``tell``
    receives one line at a time: what was found, and what in a folder was left out or changed.
    Raises UserError for an unknown name, for missing files, and for data that ``vetted`` rejects.
    """
    notes: list[str] = []
    if name.startswith(FOLDER):
        from harness.datasets.folders import load_folder  # noqa: PLC0415 - imports Pillow

        loaded: Any = load_folder(name.removeprefix(FOLDER), notes.append)
        channels = loaded[0].shape[0]
    elif name in datasets:
        loaded = _loaded(datasets[name], root)
        channels = datasets[name].channels
    else:
        raise _unknown_dataset(name, datasets)
    train, test = vetted(name, loaded, channels)
    tell(described(name, train, test))
    for note in notes:
        tell(f"{name}: {note}")
    return train, test


def _unknown_dataset(name: str, datasets: Mapping[str, Dataset]) -> UnknownNameError:
    text = str(unknown("dataset", name, datasets))
    if text.endswith("?"):
        return UnknownNameError(f"{text} Any image folder is folder:PATH")
    return UnknownNameError(f"{text}; any image folder is folder:PATH")


def _loaded(dataset: Dataset, root: Path) -> Any:
    """What the loader returns; raises UserError in one line for whatever it raises."""
    try:
        return dataset.load(root)
    except (DataError, OSError) as error:
        reason = textwrap.shorten(str(error), 300) or type(error).__name__
        raise UserError(f"dataset {dataset.name!r}: {reason}") from None
    except UserError as error:  # it says what to do, so that nothing of it may be cut off
        raise UserError(f"dataset {dataset.name!r}: {' '.join(str(error).split())}") from None
    except Exception as error:  # a plugin's loader can raise anything
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 300)
        hint = ""
        if isinstance(error, TypeError) and str(error).startswith("Data.__init__()"):
            hint = "; make a set with Data.of(images, labels)"
        place = _place(error)
        raise UserError(
            f"dataset {dataset.name!r}{place}: its loader failed: {reason}{hint}"
        ) from error


def _place(error: Exception) -> str:
    """The file and line of the loader that an exception passed; empty if it was not entered."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is the harness's own
    if not frames:
        return ""
    file = Path(frames[0].filename)
    last = next(each for each in reversed(frames) if each.filename == frames[0].filename)
    here = Path.cwd()
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    return f" of {shown}, line {last.lineno}"


def channel_statistics(data: Data) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel in [0, 1]; a constant channel gets deviation 1."""
    moments = [_mean_and_deviation(channel.flatten()) for channel in data.images.unbind(1)]
    means = [mean for mean, _ in moments]
    return means, [deviation or 1.0 for _, deviation in moments]


def _mean_and_deviation(pixels: Tensor) -> tuple[float, float]:
    if pixels.dtype != torch.uint8:
        values = pixels.double()
        return float(values.mean()), float(values.std(correction=0))
    levels = torch.arange(256, dtype=torch.float64) / 255
    shares = torch.bincount(pixels, minlength=256).double() / len(
        pixels
    )  # a histogram, to save memory
    mean = levels @ shares
    return float(mean), float((levels - mean).square() @ shares) ** 0.5


def fingerprint(train: Data, test: Data) -> str:
    """20 hexadecimal digits over all images, labels, shapes and augmentation flags.

    Class names are not part of it. The number of classes is, if the labels do not imply it.
    """
    digest = hashlib.sha256()
    for part in (train, test):
        for column in (part.images, part.labels, part.augment):
            digest.update(f"{tuple(column.shape)} {column.dtype}".encode())
            digest.update(column.contiguous().numpy().data)
    if train.classes and len(train.classes) != largest_label(train, test) + 1:
        digest.update(f"{len(train.classes)} classes".encode())
    return digest.hexdigest()[:20]


def digits(_root: Path, *, noise: float) -> tuple[Data, Data]:
    """1,000 train and 797 test images, ``(n, 1, 16, 16)``, in one fixed random order.

    ``noise`` is the share of labels that are replaced by another label, before the split.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.as_tensor(bunch.images, dtype=torch.float32)[:, None] / 16
    side = DIGITS_SIDE
    large = F.interpolate(small, size=(side, side), mode="bilinear", align_corners=False)
    images = (large * 255).round().to(torch.uint8)
    labels = _noisy(torch.as_tensor(bunch.target, dtype=torch.int64), noise)
    order = torch.randperm(len(images), generator=stream(0, "digits/order"))
    train, test = order[:DIGITS_TRAIN], order[DIGITS_TRAIN:]
    return Data.of(images[train], labels[train]), Data.of(images[test], labels[test])


def _noisy(labels: Tensor, share: float) -> Tensor:
    generator = stream(0, "digits/label noise")
    classes = int(labels.max()) + 1
    rows = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    noisy = labels.clone()
    shift = torch.randint(1, classes, (len(rows),), generator=generator)
    noisy[rows] = (labels[rows] + shift) % classes
    return noisy


def from_torchvision(root: Path, *, name: str) -> tuple[Data, Data]:
    """Reads torchvision's files below ``root``, and downloads them if they are missing.

    Raises UserError if neither succeeds.
    """
    import torchvision

    kind = getattr(torchvision.datasets, name)
    by_split = {"split": ("train", "test")} if name == "SVHN" else {"train": (True, False)}
    (keyword, values), *_ = by_split.items()
    return tuple(  # type: ignore[return-value]
        _tensors(_open(partial(kind, str(root), **{keyword: value}), name, root))
        for value in values
    )


def few_of(root: Path, *, name: str, train: int, test: int) -> tuple[Data, Data]:
    """A fixed random draw of this many train and test images from a torchvision data set."""
    whole = from_torchvision(root, name=name)
    drawn = []
    for part, size in zip(whole, (train, test), strict=True):
        order = torch.randperm(len(part), generator=stream(0, f"{name}/few"))
        rows = order[:size].sort().values
        drawn.append(Data.of(part.images[rows], part.labels[rows], classes=part.classes))
    return drawn[0], drawn[1]


def of_classes(root: Path, *, name: str, classes: Sequence[str]) -> tuple[Data, Data]:
    """All images of some classes of a torchvision data set, in its order, labelled from 0.

    The labels are the places of the classes in ``classes``.
    """
    train, test = from_torchvision(root, name=name)
    label = torch.full((len(train.classes),), -1)
    for place, each in enumerate(classes):
        label[train.classes.index(each)] = place
    parts = []
    for part in (train, test):
        own = label[part.labels]
        rows = (own >= 0).nonzero()[:, 0]
        parts.append(Data.of(part.images[rows], own[rows], classes=classes))
    return parts[0], parts[1]


def _open(make: Callable[..., Any], name: str, root: Path) -> Any:
    reason = ""
    for download in (False, True):
        try:
            with contextlib.redirect_stdout(None), contextlib.redirect_stderr(io.StringIO()):
                return make(download=download)
        except Exception as error:  # files and networks can fail in any way
            reason = textwrap.shorten(str(error), 200) or type(error).__name__
    raise UserError(
        f"torchvision can neither read {name} from --data {root} nor download it there "
        f"({reason}); put its files there in torchvision's layout, or name the folder that "
        f"contains them with --data"
    )


def _tensors(source: Any) -> Data:
    """Converts ``(n, h, w)``, ``(n, h, w, 3)`` and SVHN's ``(n, c, h, w)`` to ``(n, c, h, w)``."""
    images = torch.as_tensor(source.data)
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2)
    labels = source.labels if hasattr(source, "labels") else source.targets
    names = getattr(source, "classes", ())
    return Data.of(images.contiguous(), torch.as_tensor(labels).long(), classes=names)


@hookimpl
def unlearning_datasets() -> list[Dataset]:
    """The digits, clean and noisy, and torchvision's sets of 28 and 32 px, whole or in part."""
    source = "https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html"
    address = "https://pytorch.org/vision/stable/generated/torchvision.datasets."
    return [
        Dataset("digits", partial(digits, noise=0.0), source),
        Dataset("noisy-digits", partial(digits, noise=NOISE), source),
        *(
            Dataset(name, partial(from_torchvision, name=name), f"{address}{name}.html")
            for name in ("CIFAR10", "CIFAR100", "SVHN", "FashionMNIST", "MNIST")
        ),
        Dataset(
            "CIFAR10-5k",
            partial(few_of, name="CIFAR10", train=5000, test=2000),
            f"{address}CIFAR10.html",
        ),
        Dataset(
            "CIFAR100-20",
            partial(of_classes, name="CIFAR100", classes=CIFAR100_20),
            f"{address}CIFAR100.html",
        ),
        Dataset(
            "FashionMNIST-2k",
            partial(few_of, name="FashionMNIST", train=2000, test=2000),
            f"{address}FashionMNIST.html",
        ),
    ]
