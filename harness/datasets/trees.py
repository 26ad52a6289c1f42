"""The files in a folder of images; every file that is left out is reported."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.datasets.pictures import is_image
from harness.errors import UserError

LITTER = frozenset(
    {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "__pycache__", "lost+found", "$recycle.bin"}
)
"""Files that operating systems leave behind and that do not start with a dot."""

SHOWN = 3
"""The most names that one line lists."""


def hidden(name: str) -> bool:
    """Whether a file or folder is hidden or litter rather than data."""
    return name.startswith(".") or name.lower() in LITTER


def subfolders(path: Path) -> list[Path]:
    """The folders in a folder, sorted by name, without hidden ones and links to a parent."""
    return sorted(
        Path(entry.path)
        for entry in _entries(path)
        if entry.is_dir() and not hidden(entry.name) and not _leads_back(path, entry)
    )


@dataclass
class Tree:
    """A folder being read, with everything that was left out."""

    root: Path
    hidden: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    """Files that are not images."""
    repeated: list[Path] = field(default_factory=list)
    """Links to files or folders that are read anyway."""
    beside: list[Path] = field(default_factory=list)
    """Files that lie next to the class folders."""
    unused: list[Path] = field(default_factory=list)
    """Folders other than the train and the test folder."""
    _class_of: dict[str, Path] = field(default_factory=dict)
    """A file's real path → the class folder in which it was found."""

    def folders(self, path: Path, *, beside: bool = False) -> list[Path]:
        """The folders in a folder, sorted by name; ``beside`` notes everything else in it."""
        if beside:
            for entry in _entries(path):
                if hidden(entry.name):
                    self.hidden.append(Path(entry.path))
                elif not entry.is_dir():
                    self.beside.append(Path(entry.path))
                elif _leads_back(path, entry):
                    self.repeated.append(Path(entry.path))
        return subfolders(path)

    def images(self, folder: Path) -> list[str]:
        """The image files in a class folder and its subfolders, each real file once.

        Raises UserError if links put one file in two classes, or in both train and test.
        """
        files = self._below(folder, os.path.realpath(folder), {os.path.realpath(folder)})
        kept = []
        for path, real in sorted(files, key=lambda file: os.path.split(file[0])):
            other = self._class_of.setdefault(real, folder)
            if other != folder:
                raise UserError(
                    f"folder:{self.root}: the image {path} also belongs to {other} through a link; "
                    f"expected each file in only one class, and not in both train and test"
                )
            kept.append(path)
        return kept

    def _below(self, folder: Path, place: str, seen: set[str]) -> Iterator[tuple[str, str]]:
        """The path and real path of each image below a folder whose real path is ``place``."""
        for entry in _entries(folder):
            path = Path(entry.path)
            linked = entry.is_symlink()
            real = os.path.realpath(path) if linked else os.path.join(place, entry.name)  # noqa: PTH118
            if hidden(entry.name):
                self.hidden.append(path)
            elif real in seen or (entry.is_dir() and linked and _contains(real, place)):
                self.repeated.append(path)
            elif entry.is_dir():
                seen.add(real)
                yield from self._below(path, real, seen)
            elif _is_regular(path) and is_image(entry.path):
                seen.add(real)
                yield entry.path, real
            else:
                self.unreadable.append(path)

    def holds_images(self, folder: Path) -> bool:
        """Whether any file directly in the folder is an image."""
        return any(
            not entry.is_dir() and not hidden(entry.name) and is_image(entry.path)
            for entry in _entries(folder)
        )

    def unreadable_in(self, folder: Path) -> str:
        """The unreadable files of a class folder, in parentheses for an error message."""
        found = [path for path in self.unreadable if folder in path.parents]
        return f" (Pillow cannot read {self._named(found)})" if found else ""

    def notes(self) -> list[str]:
        """One line per reason for leaving something out."""
        reasons = {
            "hidden": self.hidden,
            "not an image that Pillow can read": self.unreadable,
            "a link to something already read": self.repeated,
            "next to the class folders": self.beside,
            "neither the train nor the test set": self.unused,
        }
        return [
            f"{len(paths)} left out, {reason}: {self._named(paths)}"
            for reason, paths in reasons.items()
            if paths
        ]

    def _named(self, paths: Sequence[Path]) -> str:
        names = [
            os.fsencode(path.relative_to(self.root)).decode("utf-8", "backslashreplace")
            for path in paths[:SHOWN]
        ]
        return ", ".join(names) + (", …" if len(paths) > SHOWN else "")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror}") from None


def _leads_back(path: Path, entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and _contains(os.path.realpath(entry.path), os.path.realpath(path))


def _contains(real: str, place: str) -> bool:
    """Whether a link to ``real`` that lies in ``place`` points to one of its own parents."""
    return place == real or place.startswith(real.rstrip(os.sep) + os.sep)


def _is_regular(path: Path) -> bool:
    """Whether opening the file cannot hang, unlike a pipe; a dangling link is reported later."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True
