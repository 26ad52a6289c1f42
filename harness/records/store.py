"""Results of steps as checksummed files, named by what was asked, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from harness.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

FACTS, TENSORS, SEAL = "facts.json", "tensors.safetensors", "seal.json"


class StepId(NamedTuple):
    """What names a step, and its result in the store."""

    kind: str
    """What is done, which is the folder that the result lies in."""
    key: str
    """The hash of all that the result depends on."""


class CorruptionError(Exception):
    """A file of the store is not what was once written to it."""


class StoreError(UserError):
    """The store cannot be written to, for example because the disk is full: the run stops."""

    size = 0
    """Bytes of the result that could not be written, as far as they are known."""


@dataclass(frozen=True, eq=False)
class Entry:
    """What a step left behind."""

    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


class Store:
    """A folder ``kind/key/`` a result, with a seal that holds the checksum of each of its files.

    Several processes may use one store: a step is computed under its lock, which the operating
    system releases when its holder dies, and a result appears by one rename.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()  # a plugin may change the working directory
        self._held: set[Path] = set()
        if root.exists() and not root.is_dir():
            raise UserError(
                f"--store {root} is a file; expected a folder, or a path to make one at"
            )

    def open(self) -> None:
        """Makes the folder; raises StoreError where it cannot be written to."""
        with self._writing():
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            (self.root / "locks" / ".written").touch()

    def has(self, kind: str, key: str) -> bool:
        """Whether the result is there; its checksums are not read."""
        return (self._folder(kind, key) / SEAL).exists()

    def keys(self, kind: str) -> list[str]:
        """The names of all results of one kind, sorted."""
        folder = self.root / kind
        return sorted(path.parent.name for path in folder.glob(f"*/{SEAL}"))

    def read(self, kind: str, key: str, *, tensors: bool = True) -> Entry:
        """The result, after its checksums were compared.

        Raises CorruptionError that names the file and the reason.
        """
        folder = self._folder(kind, key)
        self._verify(folder, skip=() if tensors else (TENSORS,))
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        path = folder / TENSORS
        return Entry(facts, _loaded(path) if tensors and path.exists() else {})

    def fault(self, kind: str, key: str) -> str:
        """What is wrong with a result; empty where nothing is."""
        try:
            self._verify(self._folder(kind, key))
        except CorruptionError as error:
            return str(error)
        return ""

    def write(
        self, kind: str, key: str, facts: Mapping[str, Any], tensors: Mapping[str, Tensor] | None
    ) -> None:
        """Puts a result in its place; call it under the result's lock.

        Raises StoreError where it cannot be written, and leaves nothing of it behind.
        """
        draft = self.root / "drafts" / f"{kind}-{key}"
        text = json.dumps(facts, sort_keys=True, indent=1, allow_nan=False)
        self.discard(kind, key)
        shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
        try:
            with self._writing():
                self._put(draft, self._folder(kind, key), text, tensors)
        except StoreError as error:
            shutil.rmtree(draft, ignore_errors=True)  # it may be what filled the disk
            error.size = len(text) + sum(each.nbytes for each in (tensors or {}).values())
            raise

    def _put(
        self, draft: Path, folder: Path, text: str, tensors: Mapping[str, Tensor] | None
    ) -> None:
        draft.mkdir(parents=True)
        (draft / FACTS).write_text(text, encoding="utf-8")
        if tensors is not None:
            _save(tensors, draft / TENSORS)
        sums = {path.name: _checksum(path) for path in sorted(draft.iterdir())}
        (draft / SEAL).write_text(json.dumps(sums), encoding="utf-8")
        for path in draft.iterdir():
            _flush(path)
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft.rename(folder)
        _flush(folder.parent)

    def discard(self, kind: str, key: str) -> None:
        """Removes a result, whole or broken; nothing happens where there is none."""
        folder = self._folder(kind, key)
        with self._writing():
            if folder.exists():
                _remove(folder / SEAL)  # from here on it is no result
                _remove(folder)

    @contextmanager
    def lock(self, kind: str, key: str) -> Iterator[bool]:
        """Whether this process now holds the step; it does not wait for another."""
        self.open()
        path = self.root / "locks" / f"{kind}-{key}.lock"
        held = FileLock(path)
        try:
            with self._writing():
                held.acquire(timeout=0)
        except Timeout:
            yield False
            return
        self._held.add(path)
        try:
            yield True
        finally:
            self._held.discard(path)
            held.release()

    def let_go(self) -> None:
        """In a forked process: closes the locks that its parent holds, which stay the parent's.

        Else a process that outlives its parent would keep them.
        """
        held = [path.stat() for path in self._held]
        for descriptor in [int(path.name) for path in Path("/dev/fd").iterdir()]:
            with suppress(OSError):
                here = os.fstat(descriptor)
                if any(os.path.samestat(here, lock) for lock in held):
                    os.close(descriptor)

    def try_room(self, size: int) -> None:
        """Writes as many bytes and removes them; raises StoreError where that is impossible."""
        draft = self.root / "drafts" / f"room-{os.getpid()}"
        try:
            with self._writing():
                draft.parent.mkdir(parents=True, exist_ok=True)
                with draft.open("wb") as file:
                    for start in range(0, size, 1 << 20):
                        file.write(bytes(min(1 << 20, size - start)))
                    file.flush()
                    os.fsync(file.fileno())
        finally:
            draft.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns what the operating system refuses into a StoreError."""
        try:
            yield
        except OSError as error:
            if isinstance(error, Timeout):  # the lock is another's
                raise
            raise StoreError(f"cannot write to --store {self.root}: {error.strerror}") from None
        except SafetensorError as error:  # its way to say that a disk is full
            raise StoreError(f"cannot write to --store {self.root}: {error}") from None

    def _folder(self, kind: str, key: str) -> Path:
        return self.root / kind / key

    def _verify(self, folder: Path, skip: tuple[str, ...] = ()) -> None:
        try:
            sums = json.loads((folder / SEAL).read_text(encoding="utf-8"))
            sealed = {FACTS, *({TENSORS} if (folder / TENSORS).exists() else ())}
            if not isinstance(sums, dict) or not sealed <= {*sums}:
                raise CorruptionError(f"{folder / SEAL}: it lacks a checksum of {sorted(sealed)}")
            for name, expected in sums.items():
                if name not in skip and _checksum(folder / name) != expected:
                    raise CorruptionError(f"{folder / name}: its checksum differs from its seal's")
        except (OSError, ValueError) as error:
            raise CorruptionError(f"{folder}: {type(error).__name__}: {error}") from None


def _loaded(path: Path) -> Mapping[str, Tensor]:
    from safetensors.torch import load  # noqa: PLC0415 - it brings torch, which pages do without

    return load(path.read_bytes())  # load_file takes no path but in UTF-8


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file  # noqa: PLC0415

    own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    save_file(own, path)


def digest(tensors: Mapping[str, Tensor]) -> str:
    """20 hexadecimal digits over names, types, shapes and bytes; empty where there are none."""
    if not tensors:
        return ""
    import torch  # noqa: PLC0415

    found = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:20]


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(path: Path) -> None:
    """Removes a file or a folder, whatever ought to be in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
