"""Hashes the values that a function holds besides its source; equal in every process."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import UserError

Named = Iterable[tuple[str, object]]

SCALARS = (type(None), bool, int, float, complex, str, bytes, type(...), range)

BUILT_IN = (
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    np.ufunc,
)

PICKLED = ("what makes it", "its arguments", "its attributes", "its content", "its content")
"""The parts that ``__reduce_ex__`` returns, as hashed; list and mapping items come as iterators."""

CACHE = type(functools.lru_cache(len))

Source = Callable[[types.FunctionType | type | types.ModuleType], str]
"""Names a function, class or module, and collects its source if it belongs to a plugin."""


class Holdings:
    """Computes digests of values, recursively over their parts.

    The words for the parts ("its function", "its defaults") are hashed too: a change of one changes
    the identity of every run whose method holds such a part.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._done: dict[int, tuple[object, str]] = {}
        """``id`` → (object, digest); keeping the object keeps its ``id`` valid."""
        self._open: list[int] = []

    def digest(self, value: object, where: str) -> str:
        """The digest of a value's content; ``where`` describes the value in an error.

        Raises UserError for a value whose content another process could not reproduce.
        """
        if type(value) in SCALARS:
            text = ascii(value) if type(value) is not int else f"{value:x}"
            return _hashed(f"{type(value).__name__} {text}".encode())
        if id(value) in self._done:
            return self._done[id(value)][1]
        if id(value) in self._open:  # a cycle: the number of levels up
            return f"up {len(self._open) - self._open.index(id(value))}"
        self._open.append(id(value))
        try:
            found = self._described(value, where)
        finally:
            self._open.pop()
        self._done[id(value)] = value, found
        return found

    def _described(self, value: Any, where: str) -> str:
        for kinds, describe in _DESCRIBERS:
            if isinstance(value, kinds):
                return describe(self, value, where)
        if type(value) in _CONTAINERS:
            return self._all(type(value).__name__, _CONTAINERS[type(value)](value), where)
        if type(value) in (set, frozenset):
            parts = sorted(self.digest(each, f"{where}, in a set,") for each in value)
            return _hashed("set", *parts)
        return self._object(value, where)

    def _all(self, kind: str, parts: Named, where: str) -> str:
        inner = (f"{name} {self.digest(part, f'{where}: {name}')}" for name, part in parts)
        return _hashed(kind, *inner)

    def _function(self, value: types.FunctionType, where: str) -> str:
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        held = [(f"its {name}", _content(cell)) for name, cell in cells]
        held += [("its defaults", value.__defaults__), ("its defaults", value.__kwdefaults__)]
        held += [(f"its attribute {name}", each) for name, each in sorted(vars(value).items())]
        return self._all(f"function {self._source(value)}", held, where)

    def _partial(self, value: functools.partial[Any], where: str) -> str:
        held: list[tuple[str, object]] = [("its function", value.func)]
        held += [(f"argument {number}", each) for number, each in enumerate(value.args)]
        held += [(f"argument {name}", each) for name, each in sorted(value.keywords.items())]
        return self._all("partial", [*held, ("its attributes", vars(value))], where)

    def _method(self, value: types.MethodType, where: str) -> str:
        held = [("its function", value.__func__), ("its object", value.__self__)]
        return self._all("method", held, where)

    def _built_in(self, value: Any, where: str) -> str:
        owner = getattr(value, "__self__", getattr(value, "__objclass__", None))
        return self._all(f"built-in {value.__name__}", [("its object", owner)], where)

    def _class(self, value: type, where: str) -> str:
        held: list[tuple[str, object]] = [("its base", base) for base in value.__bases__]
        if (
            "<locals>" in value.__qualname__
        ):  # its methods may refer to variables of the enclosing call
            members = ((name, each) for name, each in vars(value).items() if callable(each))
            held += [(f"its {name}", each) for name, each in members]
        return self._all(f"class {self._source(value)}", held, where)

    def _module(self, value: types.ModuleType, _: str) -> str:
        return _hashed("module", self._source(value))

    def _tensor(self, value: Tensor, where: str) -> str:
        if value.layout is not torch.strided or value.is_quantized:
            raise _unstable(value, where)
        facts = f"tensor {value.dtype} {tuple(value.shape)} {value.requires_grad}"
        if value.is_meta:
            return _hashed(facts)
        plain = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
        return _hashed(facts, plain.view(torch.uint8).numpy().tobytes())

    def _generator(self, value: torch.Generator, _: str) -> str:
        return _hashed("generator", value.get_state().numpy().tobytes())

    def _array(self, value: Any, where: str) -> str:
        facts = f"array {value.dtype.str} {value.shape}"
        if value.dtype.hasobject:
            return self._all(facts, [("its content", value.tolist())], where)
        return _hashed(facts, value.tobytes())

    def _member(self, value: Enum, where: str) -> str:
        return self._all(f"member {value.name}", [("its class", type(value))], where)

    def _named(self, value: Any, _: str) -> str:
        return _hashed("named", f"{type(value).__name__} {value}")

    def _path(self, value: PurePath, _: str) -> str:
        return _hashed("path", value.as_posix())

    def _cache(self, value: Any, where: str) -> str:
        return self._all("cache", [("its function", value.__wrapped__)], where)

    def _wrapper(self, value: Any, where: str) -> str:
        return self._all("wrapper", [("its function", value.__func__)], where)

    def _object(self, value: Any, where: str) -> str:
        """By what pickle would store: its class, and its state or what rebuilds it."""
        if type(value).__module__ == "itertools":  # Python 3.14 can no longer pickle these
            raise _unstable(value, where)
        try:
            made = value.__reduce_ex__(4)
        except Exception as error:  # a plugin's object may raise anything
            raise _unstable(value, where) from error
        if isinstance(made, str):
            return _hashed("global", type(value).__module__, made)
        held: list[tuple[str, object]] = [("its class", type(value))]
        for part, content in zip(PICKLED, made, strict=False):
            is_iterator = part == "its content" and content is not None
            held.append((part, list(content) if is_iterator else content))
        return self._all("object", held, where)


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # an empty cell: the name is assigned later, or never
        return "nothing yet"


def _hashed(*parts: str | bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def _unstable(value: object, where: str) -> UserError:
    return UserError(
        f"{where} is of type {type(value).__module__}.{type(value).__qualname__}, whose content "
        f"cannot be hashed, so that an edit would go unnoticed; create it inside the function, or "
        f"hold only the values it is created from"
    )


def _pairs(value: Any) -> Named:
    for number, (key, each) in enumerate(value.items()):
        yield f"key {number}", key
        yield f"[{key!r:.40}]" if isinstance(key, str | int) else f"value {number}", each


def _listed(value: Any) -> Named:
    return ((f"[{number}]", each) for number, each in enumerate(value))


_CONTAINERS: dict[type, Callable[[Any], Named]] = {
    list: _listed,
    tuple: _listed,
    dict: _pairs,
    types.MappingProxyType: _pairs,
}

_DESCRIBERS: tuple[tuple[Any, Callable[[Holdings, Any, str], str]], ...] = (
    (types.FunctionType, Holdings._function),
    (functools.partial, Holdings._partial),
    (types.MethodType, Holdings._method),
    (BUILT_IN, Holdings._built_in),
    (Enum, Holdings._member),
    (type, Holdings._class),
    (types.ModuleType, Holdings._module),
    (Tensor, Holdings._tensor),
    (torch.Generator, Holdings._generator),
    ((np.ndarray, np.generic), Holdings._array),
    ((torch.dtype, torch.device, torch.layout, np.dtype), Holdings._named),
    (PurePath, Holdings._path),
    (CACHE, Holdings._cache),
    ((staticmethod, classmethod), Holdings._wrapper),
)
