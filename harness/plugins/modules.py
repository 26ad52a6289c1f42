"""Loads the modules of plugins from their current files, isolated from other plugins.

A file of ``-p`` is loaded into a private package for its folder and the working directory, so that
two plugins may each have a ``utils.py``. Its import statements search, in this order: the standard
library, installed packages, the file's folder, the working directory, and any path that the plugin
added to ``sys.path``. No other code can import modules from these folders.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

GROUP = "unlearning"
"""The entry-point group of an installed plugin."""

PREFIX = "unlearning_plugin_"
"""The prefix of private package names; a hash of the two folders follows."""

INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders in which package managers install packages."""

OURS = __name__.partition(".")[0]


def is_plugins(name: str, spec: ModuleSpec | None, own: str = "") -> bool:
    """Whether a module belongs to a plugin, so that its source is part of a method's identity.

    It does if it lies in a package that an entry point names, in the top-level package ``own``, or
    in a user's folder; the harness, torch and the standard library never do.
    """
    top = name.partition(".")[0]
    if top in (OURS, "torch") or top in sys.stdlib_module_names:
        return False
    if top == own or top.startswith(PREFIX) or top in packages(tuple(sys.path)):
        return True
    places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
    files = [Path(place) for place in places if place and Path(place).is_absolute()]
    return bool(files) and not any(INSTALLED & {*file.parts} for file in files)


@lru_cache(maxsize=1)
def packages(path: tuple[str, ...]) -> frozenset[str]:  # noqa: ARG001 - the key of the cache
    """The top-level packages that entry points of plugins name."""
    points = importlib.metadata.entry_points(group=GROUP)
    return frozenset(point.module.partition(".")[0] for point in points) - {OURS}


def public_name(name: str) -> str:
    """A module's name as the author of a plugin knows it.

    It omits this machine's private package. For every module of the harness it is just ``harness``,
    because moving a class within the harness must not change a plugin's identity.
    """
    name = re.sub(f"^{PREFIX}[0-9a-f]+[.]", "", name)
    return OURS if name.startswith(f"{OURS}.") else name


def spec_of(name: str) -> ModuleSpec | None:
    """The spec of a module, found without running any code; None if there is no such module."""
    module = sys.modules.get(name)
    if module is not None:
        return getattr(module, "__spec__", None)
    parent = name.rpartition(".")[0]
    if not parent:
        try:
            return importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return None
    above = spec_of(parent)
    places = getattr(sys.modules.get(parent), "__path__", None)
    if places is None and above is not None:
        places = above.submodule_search_locations
    return None if places is None else PathFinder.find_spec(name, list(places))


def text_of(name: str, file: str) -> bytes:
    """The source of a module: the bytes that were loaded, if known, or else the file's."""
    text = loaded_text(name)
    return Path(file).read_bytes() if text is None else text


def loaded_text(name: str) -> bytes | None:
    """The source that was loaded as this module; None unless the harness loaded it."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    loader = getattr(spec, "loader", None)
    return loader.text if isinstance(loader, _CurrentFileLoader) else None


def begin(files: Iterable[Path] = ()) -> None:
    """Prepares the process for loading plugins, and unloads the private packages of these files.

    The working directory, which ``python -m`` puts first on ``sys.path``, moves behind the
    installed packages, so that no file in it can shadow a library.
    """
    finder = next((each for each in sys.meta_path if isinstance(each, _Finder)), None)
    if finder is None:
        finder = _Finder()
        sys.meta_path.insert(0, finder)
    if not sys.flags.safe_path and sys.path and sys.path[0] in ("", str(Path.cwd())):
        finder.behind.add(sys.path[0])
        sys.path.append(sys.path.pop(0))
    finder.path = [place for place in sys.path if place not in finder.behind]
    finder.folders.clear()
    finder.shared.clear()
    importlib.invalidate_caches()
    packages.cache_clear()
    for package in {_package_name(file) for file in files}:
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
            del sys.modules[name]


def load_named(name: str) -> ModuleType:
    """An installed module, or else a module in the working directory."""
    _finder().folders.append(str(Path.cwd()))
    return importlib.import_module(name)


def load_file(path: Path) -> ModuleType:
    """A file, loaded as a module of its folder's private package."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path.absolute()}")
    package = _package(_package_name(path), [path.absolute().parent, Path.cwd()])
    file = str(path.absolute())
    name = f"{package.__name__}.{re.sub('[^0-9a-zA-Z_]', '_', path.stem)}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file, loader=_CurrentFileLoader(name, file))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look it up there
    before = list(sys.path)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        _adopt(package)
        sys.path[:] = before
    return module


def private_name(package: str, name: str) -> str:
    """The private name of a module imported by this name in the package; empty if it is shared."""
    top = name.partition(".")[0]
    root = sys.modules[package]
    _adopt(root)
    if _finder().is_shared(top):
        return ""
    own = f"{package}.{top}"
    known = own in sys.modules or PathFinder.find_spec(own, list(root.__path__)) is not None
    return f"{package}.{name}" if known else ""


def _finder() -> _Finder:
    return next(each for each in sys.meta_path if isinstance(each, _Finder))


def _package_name(file: Path) -> str:
    folders = f"{file.resolve().parent}\0{Path.cwd().resolve()}"
    return PREFIX + hashlib.sha256(folders.encode(errors="surrogateescape")).hexdigest()[:8]


def _package(name: str, folders: Iterable[Path]) -> ModuleType:
    if name not in sys.modules:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = list(dict.fromkeys(map(str, folders)))
        sys.modules[name] = importlib.util.module_from_spec(spec)
    return sys.modules[name]


def _adopt(package: ModuleType) -> None:
    """Moves the paths that a plugin added to ``sys.path`` to its private package."""
    finder = _finder()
    known = {*finder.path, *finder.behind, *package.__path__}
    package.__path__ += [place for place in sys.path if place not in known]


def _private_import(package: ModuleType) -> Callable[..., ModuleType]:
    """The ``__import__`` function for the modules of a private package."""

    def private_import(
        name: str,
        globals: Any = None,  # noqa: A002 - the names are Python's
        locals: Any = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        sys.modules.setdefault(
            package.__name__, package
        )  # another catalog's load may have removed it
        own = "" if level else private_name(package.__name__, name)
        if not own:
            return builtins.__import__(name, globals, locals, fromlist, level)
        module = builtins.__import__(own, globals, locals, fromlist, 0)
        return module if fromlist else sys.modules[".".join(own.split(".")[:2])]

    return private_import


class _CurrentFileLoader(SourceFileLoader):
    """Loads code from the current file, never from a bytecode cache, and keeps the source.

    Python's bytecode cache detects edits by the modification time in seconds and the size. If
    ``lr=1.0`` and ``lr=2.0`` are written within one second, one would run under the other's hash.
    """

    text: bytes | None = None

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        self.text = self.get_data(path)
        code: CodeType = self.source_to_code(self.text, path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        package = module.__name__.partition(".")[0]
        if package.startswith(PREFIX):
            own = _private_import(sys.modules[package])
            module.__dict__["__builtins__"] = {**vars(builtins), "__import__": own}
        super().exec_module(module)


class _Finder:
    """Finds what Python finds, but loads plugins' modules with ``_CurrentFileLoader``.

    It stays on ``sys.meta_path``, because a function may import when it is called.
    """

    def __init__(self) -> None:
        self.path: list[str] = []
        """``sys.path`` before any plugin was loaded, without the working directory."""
        self.behind: set[str] = set()
        """The working directory, as it was written in ``sys.path``."""
        self.shared: dict[str, bool] = {}
        """Top-level module → whether ``is_shared``."""
        self.folders: list[str] = []
        """Folders to search for modules that no other finder finds."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec from another finder or ``folders``, with the loader replaced for plugins."""
        spec = self.found_elsewhere(name, path, target)
        if spec is None and path is None and self.folders:
            spec = PathFinder.find_spec(name, self.folders)
        if (
            spec is not None
            and spec.origin is not None
            and type(spec.loader) is SourceFileLoader
            and is_plugins(name, spec)
        ):
            spec.loader = _CurrentFileLoader(name, spec.origin)
            spec.cached = None
        return spec

    def found_elsewhere(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec from the first other finder that has one, unchanged."""
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
        return None

    def is_shared(self, top: str) -> bool:
        """Whether a top-level module is installed or in the standard library."""
        if top == OURS or top in sys.stdlib_module_names or top in packages(tuple(sys.path)):
            return True
        if top not in self.shared:
            others = [each for each in sys.meta_path if each not in (self, PathFinder)]
            specs = (each.find_spec(top, None) for each in others if hasattr(each, "find_spec"))
            self.shared[top] = (
                any(spec is not None for spec in specs)
                or PathFinder.find_spec(top, self.path) is not None
            )
        return self.shared[top]
