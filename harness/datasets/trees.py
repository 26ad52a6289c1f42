"""What lies in a folder of images: every file is an image, or is left out and told of."""

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
"""What systems leave behind without a dot before its name."""

SHOWN = 3
"""Names in one line."""


def hidden(name: str) -> bool:
    """Whether it is nothing that a user put there to be read."""
    return name.startswith(".") or name.lower() in LITTER


def subfolders(path: Path) -> list[Path]:
    """The folders in a folder, by name, without hidden ones and links back to where it lies."""
    return sorted(
        Path(entry.path)
        for entry in _entries(path)
        if entry.is_dir() and not hidden(entry.name) and not _leads_back(path, entry)
    )


@dataclass
class Tree:
    """A folder as it is read: whatever is left out of it is noted."""

    root: Path
    hidden: list[Path] = field(default_factory=list)
    strange: list[Path] = field(default_factory=list)
    """Files that are no images."""
    again: list[Path] = field(default_factory=list)
    """Links to what is there already."""
    beside: list[Path] = field(default_factory=list)
    """Files that lie beside the class folders."""
    unused: list[Path] = field(default_factory=list)
    """Folders beside those of the train and the test set."""
    _class_of: dict[str, Path] = field(default_factory=dict)
    """A file's real path → the class folder that it was found in."""

    def folders(self, path: Path, *, beside: bool = False) -> list[Path]:
        """The folders in a folder, by name; with ``beside`` what else lies there is noted."""
        if beside:
            for entry in _entries(path):
                if hidden(entry.name):
                    self.hidden.append(Path(entry.path))
                elif not entry.is_dir():
                    self.beside.append(Path(entry.path))
                elif _leads_back(path, entry):
                    self.again.append(Path(entry.path))
        return subfolders(path)

    def images(self, folder: Path) -> list[str]:
        """The image files of a class folder, each real file once, also those in its subfolders.

        Raises UserError for a file that belongs to two classes, or to train and test, by a link.
        """
        files = self._below(folder, os.path.realpath(folder), {os.path.realpath(folder)})
        kept = []
        for path, real in sorted(files, key=lambda file: os.path.split(file[0])):
            other = self._class_of.setdefault(real, folder)
            if other != folder:
                raise UserError(
                    f"folder:{self.root}: the image {path} is, by a link, also one of {other}; "
                    f"expected each file in one class of one part"
                )
            kept.append(path)
        return kept

    def _below(self, folder: Path, place: str, seen: set[str]) -> Iterator[tuple[str, str]]:
        """Path and real path of each image below a folder whose real path is ``place``."""
        for entry in _entries(folder):
            path = Path(entry.path)
            linked = entry.is_symlink()
            real = os.path.realpath(path) if linked else os.path.join(place, entry.name)  # noqa: PTH118
            if hidden(entry.name):
                self.hidden.append(path)
            elif real in seen or (entry.is_dir() and linked and _contains(real, place)):
                self.again.append(path)
            elif entry.is_dir():
                seen.add(real)
                yield from self._below(path, real, seen)
            elif _is_regular(path) and is_image(entry.path):
                seen.add(real)
                yield entry.path, real
            else:
                self.strange.append(path)

    def holds_images(self, folder: Path) -> bool:
        """Whether some file that lies directly in the folder is an image."""
        return any(
            not entry.is_dir() and not hidden(entry.name) and is_image(entry.path)
            for entry in _entries(folder)
        )

    def strangers_in(self, folder: Path) -> str:
        """What lies in a class folder without being an image, as an addition to an error."""
        found = [path for path in self.strange if folder in path.parents]
        return f" ({self._named(found)} is not one that Pillow reads)" if found else ""

    def notes(self) -> list[str]:
        """A line for each way in which something was left out."""
        reasons = {
            "hidden": self.hidden,
            "no image that Pillow reads": self.strange,
            "a link to what is read already": self.again,
            "beside the class folders": self.beside,
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
    """Whether a link to ``real`` that lies in ``place`` leads back to where it came from."""
    return place == real or place.startswith(real.rstrip(os.sep) + os.sep)


def _is_regular(path: Path) -> bool:
    """No pipe or socket, which to open could take for ever; a link to nowhere is told of later."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True
