"""Any folder of images, a subfolder a class, as uint8 tensors."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from harness.datasets.pictures import differing, looked_at, read
from harness.datasets.trees import Tree, subfolders
from harness.datasets.vetting import is_whole
from harness.errors import UserError
from harness.seeds import stream
from harness.specs.data import Data

LIMIT = 4 * 2**30
"""Bytes of uint8 images that a folder may come to: they lie in memory, or on the GPU."""
TEST_SHARE = 0.2

SUFFIX = r"(?:[-_. ]?(?:set|data|images|split))?"
TRAIN = re.compile(rf"(?:train|training){SUFFIX}", re.IGNORECASE)
TEST = re.compile(rf"(?:test|testing){SUFFIX}", re.IGNORECASE)
VALIDATION = re.compile(rf"(?:val|valid|validation|eval|evaluation|dev){SUFFIX}", re.IGNORECASE)

Sample = tuple[str, int]
"""Path and label."""

Tell = Callable[[str], None]


def load_folder(given: str, tell: Tell = lambda _: None) -> tuple[Data, Data]:
    """The images of ``PATH`` or, resized to 32 px, of ``PATH@32``.

    A train and a test (or validation) folder where there is one of each; else the class folders
    lie in ``PATH`` itself, and a fixed fifth of each class is the test set. Classes are in the
    order of their names, or of their numbers where all names are whole numbers. Every file that
    Pillow reads is an image; a photograph is turned upright; images stay grey where all are;
    transparency is dropped, and of several frames the first is read. ``tell`` hears what is left
    out or changed. Raises UserError for anything that stands in the way.
    """
    path, side = _parse(given, tell)
    tree = Tree(path)
    classes, train, test = _samples(tree)
    files = [name for name, _ in (*train, *test)]
    look = looked_at(files)
    size = (side, side) if side is not None else _one_size(look.sizes)
    amount = len(files) * len(look.mode) * size[0] * size[1]
    if amount > LIMIT:
        raise UserError(
            f"folder:{given} comes to {amount / 2**30:.1f} GiB of pixels; at most "
            f"{LIMIT / 2**30:.0f} GiB fit. Give a smaller size, as folder:{path}@32"
        )
    images = read(files, look.mode, side)
    labels = torch.tensor([label for _, label in (*train, *test)])
    for note in tree.notes():
        tell(note)
    for what, count in look.peculiar.items():
        if count:
            tell(f"{count} of {len(files)} images {what}")
    n, names = len(train), [_shown(name) for name in classes]
    return (
        Data.of(images[:n], labels[:n], classes=names),
        Data.of(images[n:], labels[n:], classes=names),
    )


def _parse(given: str, tell: Tell) -> tuple[Path, int | None]:
    """The folder and the size: a folder whose own name has an @ is meant where it exists."""
    found = re.fullmatch(r"(.+)@([0-9]+)", given, re.DOTALL)
    if not given or given.startswith("@"):
        raise UserError(f"folder:{given} names no folder; expected folder:PATH or folder:PATH@32")
    if Path(given).is_dir() or not found:
        if found and Path(found[1]).is_dir():
            tell(
                f"the folder of this very name is read; {found[1]} resized to {found[2]} px is "
                f"folder:{found[1]}/@{found[2]}"
            )
        return _existing(given, Path(given)), None
    path, side = _existing(given, Path(found[1])), int(found[2])
    if not 4 <= side <= 1024:
        raise UserError(f"folder:{given}: the size after @ must be 4 to 1024 px; got {side}")
    return path, side


def _existing(given: str, path: Path) -> Path:
    if not path.is_dir():
        raise UserError(f"folder:{given}: there is no folder {path.absolute()}")
    return path


def _samples(tree: Tree) -> tuple[list[str], list[Sample], list[Sample]]:
    """The names of the classes, and the samples of the train and of the test set."""
    splits = _splits(tree)
    if splits is None:
        classes = _classes(tree, tree.root)
        return [*classes], *_parted(tree.root, _labelled(classes))
    train, test = (_classes(tree, part) for part in splits)
    if [*train] != [*test]:
        odd = sorted({*train} ^ {*test})
        names = " and ".join(part.name for part in splits)
        raise UserError(f"folder:{tree.root}: {names} differ in their classes: {odd[:5]}")
    return [*train], _labelled(train), _labelled(test)


def _labelled(classes: Mapping[str, Sequence[str]]) -> list[Sample]:
    return [(file, label) for label, files in enumerate(classes.values()) for file in files]


def _splits(tree: Tree) -> tuple[Path, Path] | None:
    """The folders of the train and the test set; none where the class folders lie side by side."""
    inside = tree.folders(tree.root, beside=True)
    first, test, validation = (
        [part for part in inside if pattern.fullmatch(part.name)]
        for pattern in (TRAIN, TEST, VALIDATION)
    )
    named = [*first, *test, *validation]
    if not any(map(subfolders, named)):
        if first and len(first) < len(named) == len(inside):
            raise _unclear(tree, inside, "which hold no class folders")
        _refuse_alike(tree, inside)
        return None  # a class may well be called "train"
    second = test or validation
    others = [part for part in inside if part not in named]
    if len(first) != 1 or len(second) != 1 or not all(map(subfolders, (*first, *second))):
        raise _unclear(tree, inside, "")
    if any(tree.holds_images(part) for part in others):
        raise _unclear(tree, inside, "")
    tree.unused += [part for part in inside if part not in (*first, *second)]
    return first[0], second[0]


def _unclear(tree: Tree, inside: Sequence[Path], why: str) -> UserError:
    names = ", ".join(part.name for part in inside)
    return UserError(
        f"folder:{tree.root} holds {names}{', ' * bool(why)}{why}; expected class folders alone, "
        f"or one train and one test (or val) folder with the class folders in each"
    )


def _refuse_alike(tree: Tree, inside: Sequence[Path]) -> None:
    """Parts of a data set under any other name are no classes."""
    below = [frozenset(part.name for part in subfolders(each)) for each in inside]
    if len(below) > 1 and len({*below}) == 1 and len(below[0]) > 1:
        names = ", ".join(part.name for part in inside)
        same = ", ".join(sorted(below[0])[:5])
        raise UserError(
            f"folder:{tree.root} holds {names}, each with the same folders in it ({same}); if "
            f"these are the classes, name two parts train and test, or give one part's folder"
        )


def _classes(tree: Tree, path: Path) -> dict[str, list[str]]:
    """Name → files of each class, in the order of the labels."""
    folders = tree.folders(path, beside=path != tree.root)
    expected = "expected a subfolder a class with images in each, two or more"
    if len(folders) < 2:
        found = f"one class alone, {folders[0].name!r}" if folders else "no class folder"
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
            f"folder:{path}: no image in the class {', '.join(map(_shown, empty[:5]))}"
            f"{tree.strangers_in(path / empty[0])}; {expected}"
        )
    return classes


def _shown(name: str) -> str:
    """A folder's name as text that every file and page can hold."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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


def _one_size(sizes: Mapping[tuple[int, int], str]) -> tuple[int, int]:
    if len(sizes) > 1:
        (one, first), (other, second), *_ = sizes.items()
        raise UserError(differing(first, one, second, other))
    return next(iter(sizes))
