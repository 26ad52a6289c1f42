"""Detects functions, classes and hooks shared by all plugins that one replaces; restores them."""

from __future__ import annotations

import builtins
import copy
import dataclasses
import functools
import hashlib
import itertools
import json
import math
import operator
import os
import random
import statistics
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pluggy
import torch
from torch.nn import functional as F
from torch.nn.modules import module as modules
from torch.optim import lr_scheduler, optimizer

OURS = __name__.partition(".")[0]

WATCHED: tuple[types.ModuleType, ...] = (
    *(builtins, copy, dataclasses, functools, hashlib, itertools, json, math, os, pluggy, random),
    *(statistics, np, np.random, np.linalg, torch, torch.autograd),
    *(torch.fft, torch.func, torch.linalg, torch.nn, torch.nn.init, F, torch.nn.utils),
    *(torch.optim, lr_scheduler, torch.random, torch.special, torch.utils.data),
)
"""The shared modules besides the harness's own; torch's classes in them are watched too."""

HOOKS = tuple(
    f"{module.__name__}.{name}"
    for module in (modules, optimizer)
    for name, value in vars(module).items()
    if name.startswith("_global_") and isinstance(value, dict)
)
"""The dicts in which torch keeps hooks that run for every model or every optimiser."""

USED = (float, types.ModuleType, property, staticmethod, classmethod)
"""The types of values, besides callables, whose replacement would affect others."""

INSIDE = operator.attrgetter("__code__", "__defaults__")
"""The parts of a function that determine its behaviour and can be replaced in place."""


class Everyones:
    """A snapshot of the functions, classes, modules and global hooks that all plugins share."""

    def __init__(self, classes: Iterable[type] = ()) -> None:
        """``classes`` are watched too: those of a plugin, which others use."""
        self._places: dict[int, _Place] = {}
        self._hooks = {name: dict(_hooks(name)) for name in HOOKS}
        self._known = 0
        for module in WATCHED:
            self._watch(module)
        self._watch_ours()
        for each in classes:
            self._places.setdefault(id(each), _Place(each, each.__qualname__))

    def put_back(self) -> str:
        """Restores everything that was replaced; returns the shortest name of these, or "".

        Additions are kept, and so are torch's own wrappers, which it adds on first use.
        """
        replaced = [*self._restored()]
        self._watch_ours()
        return min(replaced, key=len, default="")

    def _watch_ours(self) -> None:
        if len(sys.modules) != self._known:
            self._known = len(sys.modules)
            for name in [name for name in sys.modules if name.startswith(OURS)]:
                if _top(name) == OURS:
                    self._watch(sys.modules[name])

    def _watch(self, module: types.ModuleType) -> None:
        if id(module) in self._places:
            return
        place = self._places[id(module)] = _Place(module, module.__name__)
        for key, value in place.attributes.items():
            if id(value) not in self._places and _is_class_of_everyones(value):
                self._places[id(value)] = _Place(value, f"{place.name}.{key}")

    def _restored(self) -> Iterator[str]:
        for number, place in [*self._places.items()]:
            if isinstance(place.owner, types.ModuleType) and place.is_forged():
                sys.modules[place.owner.__name__] = place.owner
                yield place.name
            if not place.is_intact():
                yield from place.restored()
                self._places[number] = _Place(place.owner, place.name)
        for name, before in self._hooks.items():
            if _hooks(name) != before:
                _hooks(name).clear()
                _hooks(name).update(before)
                yield name


class _Place:
    """A module or class, with its attributes at the time of the snapshot."""

    def __init__(self, owner: Any, name: str) -> None:
        self.owner = owner
        self.name = name
        self.attributes = dict(vars(owner))
        self._values = [*self.attributes.values()]
        self._functions = [v for v in self._values if isinstance(v, types.FunctionType)]
        self._inner = [*map(INSIDE, self._functions)]
        self._named = [(f, {**f.__kwdefaults__}) for f in self._functions if f.__kwdefaults__]

    def is_forged(self) -> bool:
        """Whether ``sys.modules`` has another module under this one's name."""
        return sys.modules.get(self.owner.__name__) is not self.owner

    def is_intact(self) -> bool:
        """Whether nothing has changed; a fast check."""
        now = vars(self.owner)
        return (
            len(now) == len(self._values)
            and all(map(operator.is_, now.values(), self._values))
            and [*map(INSIDE, self._functions)] == self._inner
            and all(function.__kwdefaults__ == named for function, named in self._named)
        )

    def restored(self) -> Iterator[str]:
        """Restores what was replaced; yields the names."""
        for name in [*self._replaced(), *self._altered(), *self._shadowing()]:
            yield f"{self.name}.{name}"

    def _replaced(self) -> Iterator[str]:
        """Attributes that are other objects now."""
        for name, before in self.attributes.items():
            found = vars(self.owner).get(name)
            if found is not before and self._counts(name, before, found):
                setattr(self.owner, name, before)
                yield name

    def _altered(self) -> Iterator[str]:
        """Functions whose code or defaults were replaced in place."""
        named = {id(function): each for function, each in self._named}
        for function, inner in zip(self._functions, self._inner, strict=True):
            keywords = named.get(id(function))
            if INSIDE(function) != inner or (function.__kwdefaults__ or None) != keywords:
                function.__code__, function.__defaults__ = inner
                function.__kwdefaults__ = keywords
                yield function.__name__

    def _shadowing(self) -> Iterator[str]:
        """New attributes that hide something inherited, or in a module a built-in.

        Python itself adds ``__annotations__`` and ``__annotate__`` when they are first read.
        """
        above = [vars(base) for base in getattr(self.owner, "__mro__", ())[1:]] or [vars(builtins)]
        for name, value in [*vars(self.owner).items()]:
            if name in self.attributes or name.startswith("__annot"):
                continue
            before = next((space[name] for space in above if name in space), None)
            if _is_used(before) and _is_used(value) and self._counts(name, before, value):
                delattr(self.owner, name)
                yield name

    def _counts(self, name: str, before: object, found: object) -> bool:
        every = isinstance(self.owner, types.ModuleType) and _top(self.name) == OURS
        return (_is_used(before) or (every and not name.startswith("__"))) and not _is_torchs_own(
            found, before
        )


def _top(name: str) -> str:
    return name.partition(".")[0]


def _is_class_of_everyones(value: object) -> bool:
    return isinstance(value, type) and _top(value.__module__) in (OURS, "pluggy", "torch")


def _is_used(value: object) -> bool:
    return callable(value) or isinstance(value, USED)


def _is_torchs_own(found: Any, before: object) -> bool:
    """Whether torch itself has wrapped the function, which it does once per process.

    Its compiler wraps ``torch.manual_seed`` when it is first imported, and parts of modules and
    optimisers when it first runs. The first optimiser of a class has its ``step`` wrapped for the
    profiler.
    """
    if not isinstance(found, types.FunctionType):
        return False
    place = str(found.__globals__.get("__name__"))
    profiled = place == optimizer.__name__ and getattr(found, "hooked", False)
    compilers = place == "torch._compile" or place.startswith("torch._dynamo.")
    cells = (cell.cell_contents for cell in found.__closure__ or ())
    inner = (*cells, getattr(found, "__wrapped__", None))
    known = (
        before,
        getattr(before, "__wrapped__", before),
    )  # may already be a wrapper of a base class's
    wraps = any(each is one for each in inner for one in known)
    return wraps and bool(profiled or compilers)


def _hooks(name: str) -> dict[Any, Any]:
    module, _, attribute = name.rpartition(".")
    hooks: dict[Any, Any] = getattr(sys.modules[module], attribute)
    return hooks
