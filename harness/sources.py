"""The identity of a plugin's function: a hash of its source, so that an edited one is run again."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import UserError

INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of modules that have nothing to do with each other."""


def source_hash(function: Callable[..., Any]) -> str:
    """12 hexadecimal digits over the text of the function's module and of what belongs to it.

    Those are the modules that it imports, directly or not, from its own top-level package; or, of
    a module in no package, from its own folder. What a ``functools.partial`` binds counts too, line
    ends and the folder's place do not. Raises UserError for a function without source text.
    """
    bound = []
    while isinstance(function, functools.partial):
        bound.append(repr((function.args, sorted(function.keywords.items()))))
        function = function.func
    module = inspect.getmodule(function)
    file = getattr(module, "__file__", None)
    if module is None or file is None or not Path(file).is_file():
        try:
            texts = [inspect.getsource(function)]
        except (OSError, TypeError):
            raise UserError(
                f"the source of {function!r} cannot be read, so its runs could not be told from "
                f"those of an edited one; define it in a .py file"
            ) from None
    else:
        found: dict[str, str] = {}
        _collect(module.__name__, Path(file), found)
        own = found.pop(module.__name__)
        texts = [own, *(f"{name}\n{found[name]}" for name in sorted(found))]
    return hashlib.sha256("\0".join([*texts, *bound]).encode()).hexdigest()[:12]


def _collect(name: str, path: Path, found: dict[str, str]) -> None:
    try:
        with tokenize.open(path) as file:
            text = file.read()
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise UserError(f"the source {path} cannot be read: {error}") from None
    found[name] = text
    for imported in _imports(ast.parse(text), name, is_package=path.name == "__init__.py"):
        if imported in found:
            continue
        source = _file(imported)
        if source is not None and _belongs(imported, source, name, path):
            _collect(imported, source, found)


def _belongs(imported: str, file: Path, name: str, path: Path) -> bool:
    """Whether an imported module is part of what imports it; the harness never is."""
    package = imported.partition(".")[0]
    if package == name.partition(".")[0]:
        return True
    if package == __name__.partition(".")[0]:
        return False
    alone = "." not in name and path.name != "__init__.py"
    folder = path.absolute().parent
    return (
        alone
        and file.absolute().is_relative_to(folder)
        and not INSTALLED & {*file.absolute().parts}
    )


def _imports(tree: ast.AST, name: str, *, is_package: bool) -> Iterator[str]:
    """Absolute names of all modules that a module may import, also inside its functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                up = node.level - is_package
                base = ".".join([*parts[: len(parts) - up], *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _file(name: str) -> Path | None:
    """The source file of a module; none for a name inside a module, or a compiled one."""
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        return Path(file) if file and file.endswith(".py") else None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)
