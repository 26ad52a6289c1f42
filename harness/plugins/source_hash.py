"""The source hash of a plugin's function, by which an edited function is run again."""

from __future__ import annotations

import hashlib
import inspect
import sys
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.plugins.holdings import Holdings
from harness.plugins.modules import (
    OURS,
    PREFIX,
    is_plugins,
    loaded_text,
    private_name,
    public_name,
    spec_of,
    text_of,
)
from harness.plugins.syntax import Syntax, read_syntax
from harness.specs.method import Method

UNREADABLE = (SyntaxError, ValueError, RecursionError, OSError)


@dataclass(frozen=True)
class Source:
    """Everything that a function's results depend on besides its arguments."""

    hash: str
    """12 hexadecimal digits."""
    modules: Mapping[str, str]
    """Module → digest of its syntax when the hash was computed."""

    def edited(self) -> str:
        """The name of a module whose loaded code differs from the hashed code; empty if none does.

        This happens if a function imports a module when it runs, after the file was edited. Modules
        that were loaded before the hash was computed run as hashed, whatever their files say now.
        """
        for name, digest in self.modules.items():
            text = loaded_text(name)
            if text is not None and read_syntax(text).digest != digest:
                return public_name(name)
        return ""


def source_hash(function: Callable[..., Any]) -> str:
    """The hash of a function's source and of the values that it holds; see ``source_of``."""
    return source_of(function).hash


def method_hash(method: Method) -> str:
    """The hash of all that a method's results depend on besides its settings; see ``source_of``."""
    return method_source(method).hash


def method_source(method: Method) -> Source:
    """The source of a method's ``unlearn`` and ``at_training``, and of its config's class."""
    return source_of(method.unlearn, method.at_training, type(method.config))


def source_of(function: Callable[..., Any], *others: Callable[..., Any] | None) -> Source:
    """The source of a function, and of others that belong to it.

    It covers the syntax, without docstrings and comments, of the function's module and of every
    plugin module (``is_plugins``) that it imports, directly, indirectly or inside a function. It
    also covers the values that the function holds: arguments bound by ``functools.partial``,
    variables of a closure, attributes of a callable object. A value counts by its content, a
    function or class by its source. Locations of folders do not count.

    Raises UserError if a function has no source, or holds a value whose content another process
    could not reproduce, such as an open file.
    """
    collected = _Collected(_top_of(function))
    held = Holdings(collected.source_of)
    where = f"what {_shown(function)} holds"
    parts = [held.digest(function, where)]
    if not collected.modules and not collected.texts:
        raise _no_source(function)
    parts += [held.digest(part, where) for part in others]
    modules = sorted((public_name(name), digest) for name, digest in collected.modules.items())
    text = "\0".join([*parts, *(f"{name} {digest}" for name, digest in modules)])
    return Source(hashlib.sha256(text.encode()).hexdigest()[:12], collected.modules)


def backbone_source(build: Callable[..., Any]) -> Source | None:
    """The source of a backbone; None for the harness's own, which has the harness's version."""
    return None if _top_of(build) == OURS else source_of(build)


class _Collected:
    """Collects the plugin modules on which functions and classes depend."""

    def __init__(self, own: str) -> None:
        self.modules: dict[str, str] = {}
        """Name → digest."""
        self.texts: list[str] = []
        """Digests of functions that are not in a file."""
        self._own = own
        self._plugins: dict[str, bool] = {}

    def source_of(self, value: types.FunctionType | type | types.ModuleType) -> str:
        """The public name of a value; adds its module if it belongs to a plugin."""
        if isinstance(value, types.ModuleType):
            self.add(value.__name__)
            return public_name(value.__name__)
        if isinstance(value, type):
            self.add(value.__module__)
            return f"{public_name(value.__module__)}:{value.__qualname__}"
        name = str(value.__globals__.get("__name__", ""))
        return f"{public_name(name)}:{value.__qualname__}:{self._place(name, value)}"

    def _place(self, name: str, function: types.FunctionType) -> str:
        """The function's position among those of its name, or its digest if it is not in a file."""
        code = function.__code__
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if module is not None and not self._is_plugins(name) and name != "__main__":
            return ""
        if file is None or not _same(file, code.co_filename):
            self.texts.append(_snippet(function))
            return self.texts[-1]
        self.add(name)
        syntax = self._read(name, file)
        return str(syntax.places.get((code.co_name, code.co_firstlineno), 0))

    def add(self, name: str) -> None:
        """Adds a module and everything that it imports, if it belongs to a plugin."""
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if not name or name in self.modules or not self._is_plugins(name):
                continue
            waiting.append(name.rpartition(".")[0])  # the parent package is imported first
            file = _file_of(name)
            if file is not None:
                syntax = self._read(name, file)
                self.modules[name] = syntax.digest
                package = name if Path(file).name == "__init__.py" else name.rpartition(".")[0]
                waiting += _imported(syntax, package)

    def _read(self, name: str, file: str) -> Syntax:
        try:
            return read_syntax(text_of(name, file))
        except UNREADABLE as error:
            raise UserError(f"cannot read the source file {file}: {error}") from None

    def _is_plugins(self, name: str) -> bool:
        top = name.partition(".")[0]
        if top.startswith(PREFIX):
            return True
        if top not in self._plugins:
            self._plugins[top] = is_plugins(top, spec_of(top), self._own)
        return self._plugins[top]


def _imported(syntax: Syntax, package: str) -> Iterator[str]:
    """The names of all modules that a module of this package may import."""
    top = package.partition(".")[0]
    for level, module, names in syntax.imports:
        base = module
        if level:
            parts = package.split(".")
            above = parts[: len(parts) - level + 1]
            base = ".".join([*above, module] if module else above)
        elif top.startswith(PREFIX):
            base = private_name(top, module) or module
        yield base
        yield from (f"{base}.{name}" for name in names)


def _file_of(name: str) -> str | None:
    """The source file of a module; None if there is no such module or source file."""
    spec = spec_of(name)
    file = getattr(sys.modules.get(name), "__file__", None) or (spec.origin if spec else None)
    return file if file is not None and file.endswith(".py") else None


def _same(file: str, other: str) -> bool:
    return file == other or (Path(other).is_file() and Path(file).samefile(other))


def _snippet(function: types.FunctionType) -> str:
    """The digest of a function that was defined in a notebook or an interpreter."""
    try:
        text = textwrap.dedent(inspect.getsource(function))
        return read_syntax(text.encode()).digest
    except (*UNREADABLE, TypeError):
        raise _no_source(function) from None


def _no_source(function: Callable[..., Any]) -> UserError:
    return UserError(
        f"the source of {_shown(function)} cannot be read, so that an edit would go unnoticed; "
        f"define it in a .py file"
    )


def _shown(function: object) -> str:
    if isinstance(function, type | types.FunctionType | types.MethodType):
        return f"{public_name(function.__module__)}.{function.__qualname__}"
    kind = type(function)
    shown = repr(function) if isinstance(function, types.BuiltinFunctionType) else kind.__qualname__
    return shown if kind.__module__ == "builtins" else f"{kind.__module__}.{shown}"


def _top_of(function: Any) -> str:
    """The top-level package of a function's module, looking inside ``functools.partial``."""
    while isinstance(function, partial):
        function = function.func
    owner = function if hasattr(function, "__module__") else type(function)
    return str(owner.__module__).partition(".")[0]
