"""Any folder of images, with one subfolder per class, as uint8 tensors."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from harness.datasets.pictures import inspected, read, size_mismatch
from harness.datasets.trees import Tree, subfolders
from harness.datasets.vetting import is_whole
from harness.errors import UserError
from harness.seeds import stream
from harness.specs.data import Data

LIMIT = 4 * 2**30
"""The most bytes of uint8 images in a folder: all are kept in memory, or on the GPU."""
TEST_SHARE = 0.2

SUFFIX = r"(?:[-_. ]?(?:set|data|images|split))?"
TRAIN = re.compile(rf"(?:train|training){SUFFIX}", re.IGNORECASE)
TEST = re.compile(rf"(?:test|testing){SUFFIX}", re.IGNORECASE)
VALIDATION = re.compile(rf"(?:val|valid|validation|eval|evaluation|dev){SUFFIX}", re.IGNORECASE)

Sample = tuple[str, int]
"""(path, label)."""

Tell = Callable[[str], None]


def load_folder(given: str, tell: Tell = lambda _: None) -> tuple[Data, Data]:
    """The images of ``PATH`` or, resized to 32 px, of ``PATH@32``.

    ``PATH`` contains either one train and one test (or validation) folder, or the class folders
    themselves; in that case a fixed fifth of each class becomes the test set. Classes are sorted by
    name, or numerically if all names are whole numbers. Every file that Pillow can read is an
    image. Photographs are turned upright; images stay grey if all are grey; transparency is dropped
    and only the first frame is read. ``tell`` receives what is left out or changed. Raises
    UserError if the folder cannot be used.
    """
    path, side = _parse(given, tell)
    tree = Tree(path)
    classes, train, test = _samples(tree)
    files = [name for name, _ in (*train, *test)]
    found = inspected(files)
    size = (side, side) if side is not None else _one_size(found.sizes)
    amount = len(files) * len(found.mode) * size[0] * size[1]
    if amount > LIMIT:
        raise UserError(
            f"folder:{given} contains {amount / 2**30:.1f} GiB of pixels, more than the limit of "
            f"{LIMIT / 2**30:.0f} GiB; give a smaller size, as in folder:{path}@32"
        )
    images = read(files, found.mode, side)
    labels = torch.tensor([label for _, label in (*train, *test)])
    for note in tree.notes():
        tell(note)
    for what, count in found.changes.items():
        if count:
            tell(f"{count} of {len(files)} images {what}")
    n = len(train)
    names = [_shown(name) for name in classes]
    return (
        Data.of(images[:n], labels[:n], classes=names),
        Data.of(images[n:], labels[n:], classes=names),
    )


def _parse(given: str, tell: Tell) -> tuple[Path, int | None]:
    """The folder and the size; a folder whose own name contains an @ takes precedence."""
    found = re.fullmatch(r"(.+)@([0-9]+)", given, re.DOTALL)
    if not given or given.startswith("@"):
        raise UserError(f"folder:{given} names no folder; expected folder:PATH or folder:PATH@32")
    if Path(given).is_dir() or not found:
        if found and Path(found[1]).is_dir():
            tell(
                f"reading the folder with exactly this name; for {found[1]} resized to {found[2]} "
                f"px, give folder:{found[1]}/@{found[2]}"
            )
        return _existing(given, Path(given)), None
    path = _existing(given, Path(found[1]))
    side = int(found[2])
    if not 4 <= side <= 1024:
        raise UserError(f"folder:{given}: the size after @ must be 4 to 1024 px; got {side}")
    return path, side


def _existing(given: str, path: Path) -> Path:
    if not path.is_dir():
        raise UserError(f"folder:{given}: there is no folder {path.absolute()}")
    return path


def _samples(tree: Tree) -> tuple[list[str], list[Sample], list[Sample]]:
    """The class names, the train samples and the test samples."""
    splits = _splits(tree)
    if splits is None:
        classes = _classes(tree, tree.root)
        return [*classes], *_divided(tree.root, _labelled(classes))
    train, test = (_classes(tree, part) for part in splits)
    if [*train] != [*test]:
        unmatched = sorted({*train} ^ {*test})
        names = " and ".join(part.name for part in splits)
        raise UserError(f"folder:{tree.root}: {names} differ in their classes: {unmatched[:5]}")
    return [*train], _labelled(train), _labelled(test)


def _labelled(classes: Mapping[str, Sequence[str]]) -> list[Sample]:
    return [(file, label) for label, files in enumerate(classes.values()) for file in files]


def _splits(tree: Tree) -> tuple[Path, Path] | None:
    """The train and the test folder; None if the root contains the class folders themselves."""
    inside = tree.folders(tree.root, beside=True)
    train, test, validation = (
        [part for part in inside if pattern.fullmatch(part.name)]
        for pattern in (TRAIN, TEST, VALIDATION)
    )
    named = [*train, *test, *validation]
    if not any(map(subfolders, named)):
        if train and len(train) < len(named) == len(inside):
            raise _unclear(tree, inside, "which contain no class folders")
        _refuse_alike(tree, inside)
        return None  # "train" can be the name of a class
    second = test or validation
    others = [part for part in inside if part not in named]
    if len(train) != 1 or len(second) != 1 or not all(map(subfolders, (*train, *second))):
        raise _unclear(tree, inside, "")
    if any(tree.holds_images(part) for part in others):
        raise _unclear(tree, inside, "")
    tree.unused += [part for part in inside if part not in (*train, *second)]
    return train[0], second[0]


def _unclear(tree: Tree, inside: Sequence[Path], why: str) -> UserError:
    names = ", ".join(part.name for part in inside)
    return UserError(
        f"folder:{tree.root} contains {names}{', ' * bool(why)}{why}; expected only class "
        f"folders, or one train and one test (or val) folder that each contain the class folders"
    )


def _refuse_alike(tree: Tree, inside: Sequence[Path]) -> None:
    """Raises UserError if the folders look like unnamed parts of a data set rather than classes."""
    below = [frozenset(part.name for part in subfolders(each)) for each in inside]
    if len(below) > 1 and len({*below}) == 1 and len(below[0]) > 1:
        names = ", ".join(part.name for part in inside)
        same = ", ".join(sorted(below[0])[:5])
        raise UserError(
            f"folder:{tree.root} contains {names}, each with the same subfolders ({same}); if "
            f"these are the classes, rename two parts to train and test, or give one part's path"
        )


def _classes(tree: Tree, path: Path) -> dict[str, list[str]]:
    """Class name → files, in the order of the labels."""
    folders = tree.folders(path, beside=path != tree.root)
    expected = "expected two or more subfolders, one per class, with images in each"
    if len(folders) < 2:
        found = f"only one class, {folders[0].name!r}" if folders else "no class folder"
        inner = bool(folders) and len(subfolders(folders[0])) > 1
        hint = f"; did you mean folder:{folders[0]}?" if inner else ""
        raise UserError(f"folder:{path} has {found}; {expected}{hint}")
    names = [folder.name for folder in folders]
    if all(map(is_whole, names)):
        folders.sort(key=lambda folder: (int(folder.name), folder.name))
    classes = {folder.name: tree.images(folder) for folder in folders}
    empty = [name for name, files in classes.items() if not files]
    if empty:
        raise UserError(
            f"folder:{path}: no image in class {', '.join(map(_shown, empty[:5]))}"
            f"{tree.unreadable_in(path / empty[0])}; {expected}"
        )
    return classes


def _shown(name: str) -> str:
    """A folder's name as printable UTF-8 text, for records and pages."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _divided(path: Path, samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
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


def _one_size(sizes: Mapping[tuple[int, int], str]) -> tuple[int, int]:
    if len(sizes) > 1:
        (first_size, first), (second_size, second), *_ = sizes.items()
        raise UserError(size_mismatch(first, first_size, second, second_size))
    return next(iter(sizes))
