"""Notices what a plugin's import replaces of everyone's functions, and puts it back."""

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
from collections.abc import Iterator
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
"""Modules that everyone uses, beside the harness; with torch's classes among what they hold."""

HOOKS = tuple(
    f"{module.__name__}.{name}"
    for module in (modules, optimizer)
    for name, value in vars(module).items()
    if name.startswith("_global_") and isinstance(value, dict)
)
"""Where torch keeps hooks that run in every model and every optimiser."""

USED = (float, types.ModuleType, property, staticmethod, classmethod)
"""Kinds of value that others use, beside what can be called."""

INSIDE = operator.attrgetter("__code__", "__defaults__")
"""What makes a function do what it does, and can be exchanged in place."""


class Everyones:
    """The functions, classes, modules and global hooks that all plugins share, as they are now."""

    def __init__(self) -> None:
        self._places: dict[int, _Place] = {}
        self._hooks = {name: dict(_hooks(name)) for name in HOOKS}
        self._known = 0
        for module in WATCHED:
            self._watch(module)
        self._watch_ours()

    def put_back(self) -> str:
        """The name of something that was replaced since; all that was is as before.

        Additions stay, and what torch wraps of its own when a part of it is first imported or used.
        """
        replaced = [*self._returned()]
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
        for key, value in place.held.items():
            if id(value) not in self._places and _is_class_of_everyones(value):
                self._places[id(value)] = _Place(value, f"{place.name}.{key}")

    def _returned(self) -> Iterator[str]:
        for number, place in [*self._places.items()]:
            if isinstance(place.owner, types.ModuleType) and place.is_forged():
                sys.modules[place.owner.__name__] = place.owner
                yield place.name
            if not place.is_intact():
                yield from place.returned()
                self._places[number] = _Place(place.owner, place.name)
        for name, before in self._hooks.items():
            if _hooks(name) != before:
                _hooks(name).clear()
                _hooks(name).update(before)
                yield name


class _Place:
    """A module or class, and what it held."""

    def __init__(self, owner: Any, name: str) -> None:
        self.owner = owner
        self.name = name
        self.held = dict(vars(owner))
        self._values = [*self.held.values()]
        self._functions = [v for v in self._values if isinstance(v, types.FunctionType)]
        self._inner = [*map(INSIDE, self._functions)]
        self._named = [(f, {**f.__kwdefaults__}) for f in self._functions if f.__kwdefaults__]

    def is_forged(self) -> bool:
        """Whether another module goes by the name of this one."""
        return sys.modules.get(self.owner.__name__) is not self.owner

    def is_intact(self) -> bool:
        """Whether all is the very same: a fast look."""
        now = vars(self.owner)
        return (
            len(now) == len(self._values)
            and all(map(operator.is_, now.values(), self._values))
            and [*map(INSIDE, self._functions)] == self._inner
            and all(function.__kwdefaults__ == named for function, named in self._named)
        )

    def returned(self) -> Iterator[str]:
        """Puts back what was replaced, and names it."""
        for name in [*self._replaced(), *self._exchanged(), *self._hiding()]:
            yield f"{self.name}.{name}"

    def _replaced(self) -> Iterator[str]:
        for name, before in self.held.items():
            found = vars(self.owner).get(name)
            if found is not before and self._counts(name, before, found):
                setattr(self.owner, name, before)
                yield name

    def _exchanged(self) -> Iterator[str]:
        named = {id(function): each for function, each in self._named}
        for function, inner in zip(self._functions, self._inner, strict=True):
            keywords = named.get(id(function))
            if INSIDE(function) != inner or (function.__kwdefaults__ or None) != keywords:
                function.__code__, function.__defaults__ = inner
                function.__kwdefaults__ = keywords
                yield function.__name__

    def _hiding(self) -> Iterator[str]:
        """What has been added to a class over something inherited, or to a module over a built-in.

        ``__annotations__`` and ``__annotate__`` Python itself adds when it is first asked.
        """
        above = [vars(base) for base in getattr(self.owner, "__mro__", ())[1:]] or [vars(builtins)]
        for name, value in [*vars(self.owner).items()]:
            if name in self.held or name.startswith("__annot"):
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
    """Whether torch has wrapped a function of its own, as it does once in a process.

    Its compiler wraps ``torch.manual_seed`` when it is first imported, and parts of modules and
    optimisers when it first runs; the first optimiser of a class gets a profiler's mark on its
    ``step``.
    """
    if not isinstance(found, types.FunctionType):
        return False
    place = str(found.__globals__.get("__name__"))
    marked = place == optimizer.__name__ and getattr(found, "hooked", False)
    compilers = place == "torch._compile" or place.startswith("torch._dynamo.")
    cells = (cell.cell_contents for cell in found.__closure__ or ())
    inner = (*cells, getattr(found, "__wrapped__", None))
    known = (before, getattr(before, "__wrapped__", before))  # it may have wrapped a base's already
    wraps = any(each is one for each in inner for one in known)
    return wraps and bool(marked or compilers)


def _hooks(name: str) -> dict[Any, Any]:
    module, _, attribute = name.rpartition(".")
    hooks: dict[Any, Any] = getattr(sys.modules[module], attribute)
    return hooks
