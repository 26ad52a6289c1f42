"""The store: results of steps in checksummed files, written atomically and named by identity."""

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
    """Identifies a step, and its result in the store."""

    kind: str
    """The kind of work, which is also the result's folder."""
    key: str
    """The hash of everything that the result depends on."""


class CorruptionError(Exception):
    """A file of the store differs from what was written."""


class StoreError(UserError):
    """The store cannot be written to, for example because the disk is full; this stops the run."""

    size = 0
    """Bytes of the result that could not be written; 0 if unknown."""


@dataclass(frozen=True, eq=False)
class Entry:
    """The result of a step."""

    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


class Store:
    """One folder ``kind/key/`` per result, with a seal that contains the checksum of each file.

    Several processes may use one store. A step is computed under its lock, which the operating
    system releases if the process dies, and its result appears in a single rename.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()  # a plugin may change the working directory
        self._held: set[Path] = set()
        if root.exists() and not root.is_dir():
            raise UserError(
                f"--store {root} is a file; expected a folder, or a path where one can be created"
            )

    def open(self) -> None:
        """Creates the folder; raises StoreError if it cannot be written to."""
        with self._writing():
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            (self.root / "locks" / ".written").touch()

    def has(self, kind: str, key: str) -> bool:
        """Whether the result exists; its checksums are not checked."""
        return (self._folder(kind, key) / SEAL).exists()

    def keys(self, kind: str) -> list[str]:
        """The keys of all results of one kind, sorted."""
        folder = self.root / kind
        return sorted(path.parent.name for path in folder.glob(f"*/{SEAL}"))

    def read(self, kind: str, key: str, *, tensors: bool = True) -> Entry:
        """Reads a result and checks its checksums.

        Raises CorruptionError that names the file and the reason.
        """
        folder = self._folder(kind, key)
        self._verify(folder, skip=() if tensors else (TENSORS,))
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        path = folder / TENSORS
        return Entry(facts, _loaded(path) if tensors and path.exists() else {})

    def fault(self, kind: str, key: str) -> str:
        """What is wrong with a result; empty if nothing is."""
        try:
            self._verify(self._folder(kind, key))
        except CorruptionError as error:
            return str(error)
        return ""

    def write(
        self, kind: str, key: str, facts: Mapping[str, Any], tensors: Mapping[str, Tensor] | None
    ) -> None:
        """Writes a result; the caller must hold its lock.

        Raises StoreError if the result cannot be written, and then leaves nothing behind.
        """
        draft = self.root / "drafts" / f"{kind}-{key}"
        text = json.dumps(facts, sort_keys=True, indent=1, allow_nan=False)
        self.discard(kind, key)
        shutil.rmtree(draft, ignore_errors=True)  # left by a process that was killed
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
        """Removes a result, intact or corrupt; does nothing if there is none."""
        folder = self._folder(kind, key)
        with self._writing():
            if folder.exists():
                _remove(folder / SEAL)  # without its seal it is no longer a result
                _remove(folder)

    @contextmanager
    def lock(self, kind: str, key: str) -> Iterator[bool]:
        """Tries to lock a step without waiting; yields whether this process now holds the lock."""
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

    def close_inherited_locks(self) -> None:
        """Closes the parent's lock files in a forked process; the parent keeps its locks.

        Otherwise a process that outlives its parent would keep them locked.
        """
        held = [path.stat() for path in self._held]
        for descriptor in [int(path.name) for path in Path("/dev/fd").iterdir()]:
            with suppress(OSError):
                here = os.fstat(descriptor)
                if any(os.path.samestat(here, lock) for lock in held):
                    os.close(descriptor)

    def check_space(self, size: int) -> None:
        """Writes ``size`` bytes and removes them; raises StoreError if they do not fit."""
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
        """Converts errors of writing to StoreError."""
        try:
            yield
        except OSError as error:
            if isinstance(error, Timeout):  # another process holds the lock
                raise
            raise StoreError(f"cannot write to --store {self.root}: {error.strerror}") from None
        except SafetensorError as error:  # raised, for example, if the disk is full
            raise StoreError(f"cannot write to --store {self.root}: {error}") from None

    def _folder(self, kind: str, key: str) -> Path:
        return self.root / kind / key

    def _verify(self, folder: Path, skip: tuple[str, ...] = ()) -> None:
        try:
            sums = json.loads((folder / SEAL).read_text(encoding="utf-8"))
            sealed = {FACTS, *({TENSORS} if (folder / TENSORS).exists() else ())}
            if not isinstance(sums, dict) or not sealed <= {*sums}:
                raise CorruptionError(
                    f"{folder / SEAL}: a checksum is missing; expected {sorted(sealed)}"
                )
            for name, expected in sums.items():
                if name not in skip and _checksum(folder / name) != expected:
                    raise CorruptionError(f"{folder / name}: its checksum differs from {SEAL}")
        except (OSError, ValueError) as error:
            raise CorruptionError(f"{folder}: {type(error).__name__}: {error}") from None


def _loaded(path: Path) -> Mapping[str, Tensor]:
    from safetensors.torch import load  # noqa: PLC0415 - imports torch, which pages do not need

    return load(path.read_bytes())  # load_file accepts only paths in UTF-8


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file  # noqa: PLC0415

    own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    save_file(own, path)


def digest(tensors: Mapping[str, Tensor]) -> str:
    """20 hexadecimal digits over names, types, shapes and bytes; empty without tensors."""
    if not tensors:
        return ""
    import torch  # noqa: PLC0415

    total = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:20]


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(path: Path) -> None:
    """Removes a path, whether it is a file or a folder."""
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
