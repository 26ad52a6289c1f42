"""Digests of source code that ignore docstrings, comments and layout."""

from __future__ import annotations

import ast
import functools
import hashlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

SKIPPED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
"""Fields that are implied by the rest, or set only by a comment or by a ``u`` before a string."""

IMPORTERS = frozenset({"import_module", "__import__"})


class Import(NamedTuple):
    """One import statement, or a call of ``import_module`` with a literal name."""

    level: int
    """The number of leading dots."""
    module: str
    names: tuple[str, ...] = ()
    """The names imported ``from`` the module: attributes or submodules."""


class Syntax(NamedTuple):
    """The parsed facts about one source text."""

    digest: str
    """Hexadecimal; equal for texts that differ only in docstrings, comments and layout."""
    imports: tuple[Import, ...]
    """All imports, including those inside functions."""
    places: Mapping[tuple[str, int], int]
    """(function name, first line) → position among the functions of this name."""


@functools.cache
def read_syntax(text: bytes) -> Syntax:
    """The syntax of a file's bytes.

    Raises SyntaxError, ValueError or RecursionError if they are not Python source.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python already warns when it compiles the text
        tree = ast.parse(text)
    words: list[str] = []
    imports: list[Import] = []
    functions: list[tuple[str, int]] = []
    for item in _walk(tree, words):
        imports += _imports(item)
        functions += _functions(item)
    digest = hashlib.sha256("\n".join(words).encode("utf-8", "surrogatepass")).hexdigest()
    return Syntax(digest, tuple(imports), _numbered(functions))


def _walk(tree: ast.AST, words: list[str]) -> Iterator[ast.AST]:
    """Yields all nodes in a fixed order, and appends a text form of the tree to ``words``.

    The output of ``ast.dump`` and ``ast.unparse`` varies between versions of Python. Since 3.11 the
    classes of nodes and the names and values of their fields are stable, with these exceptions:

    * Later versions add fields (``type_params`` in 3.12). These are None or an empty list if an
      earlier version could parse the text, so such fields are left out.
    * The order of ``_fields`` is not guaranteed, so they are sorted.
    * The new f-string parser of 3.12 cuts the text between braces differently and may produce empty
      pieces, so pieces are joined.
    * ``repr`` of a string depends on the Unicode tables, and ``repr`` of an integer is limited in
      length, so strings are written with ``ascii`` and integers in hexadecimal.

    Statements without effect are left out: ``pass`` and bare strings, which include all docstrings.
    Annotations count, because dataclasses read them. An explicit stack avoids Python's recursion
    limit.
    """
    stack: list[Any] = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, ast.Constant):
            words.append(_constant(item.value))
        elif isinstance(item, ast.AST):
            yield item
            words.append(f"({type(item).__name__}")
            stack.append(")")
            for name in sorted(item._fields, reverse=True):
                value = _content(item, name)
                if value is not None and value != []:
                    stack += [value, f".{name}"]
        elif isinstance(item, list):
            words.append("[")
            stack += ["]", *reversed(item)]
        else:
            words.append(item if isinstance(item, str) else _constant(item))


def _content(node: ast.AST, name: str) -> Any:
    """A field's value without the parts that have no effect."""
    value: Any = None if name in SKIPPED else getattr(node, name, None)
    if isinstance(node, ast.JoinedStr) and name == "values":
        return _joined(value)
    if name == "format_spec" and value is not None and not _content(value, "values"):
        return None
    if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
        return [statement for statement in value if not _is_idle(statement)]
    return value


def _joined(pieces: list[ast.expr]) -> list[ast.expr]:
    joined: list[ast.expr] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, ast.Constant) and isinstance(last, ast.Constant):
            joined[-1] = ast.Constant(f"{last.value!s}{piece.value!s}")
        elif not isinstance(piece, ast.Constant) or piece.value:
            joined.append(piece)
    return joined


def _is_idle(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)
    return isinstance(statement, ast.Pass)


def _constant(value: object) -> str:
    text = f"{value:x}" if type(value) is int else ascii(value)
    return f"{type(value).__name__} {text}"


def _imports(node: ast.AST) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(0, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield Import(node.level, node.module or "", tuple(alias.name for alias in node.names))
    elif isinstance(node, ast.Call) and node.args:
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = getattr(node.args[0], "value", None)
        if called in IMPORTERS and isinstance(given, str):
            name = given.lstrip(".")
            yield Import(len(given) - len(name), name)


def _functions(node: ast.AST) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Lambda):
        yield "<lambda>", node.lineno
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.name, min(part.lineno for part in (node, *node.decorator_list))


def _numbered(functions: list[tuple[str, int]]) -> dict[tuple[str, int], int]:
    count: dict[str, int] = {}
    places: dict[tuple[str, int], int] = {}
    for name, line in sorted(functions, key=lambda function: function[1]):
        places.setdefault((name, line), count.get(name, 0))
        count[name] = count.get(name, 0) + 1
    return places
