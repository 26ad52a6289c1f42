"""Restores the global state that a plugin may change when it is imported or its hooks run."""

from __future__ import annotations

import gc
import locale
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils._device import DeviceContext

from harness.isolation.containment import contained

Setting = tuple[Callable[[], Any], Callable[[Any], Any]]
"""A function that reads a value, and one that sets it."""


def _attribute(owner: Any, name: str) -> Setting:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


def _restore_path(before: list[str]) -> None:
    """Moves added entries to the end, since a plugin's functions may still import from them."""
    sys.path[:] = [*before, *(place for place in sys.path if place not in before)]


def _exit_inference_mode(_: bool) -> None:  # noqa: FBT001 - a setter takes its value
    """Exits every inference mode that was entered and is still referenced somewhere."""
    for found in gc.get_objects():
        if type(found) is torch.inference_mode:
            found.__exit__(None, None, None)


SETTINGS: tuple[Setting, ...] = (
    _attribute(sys, "excepthook"),
    _attribute(sys, "displayhook"),
    _attribute(sys, "breakpointhook"),
    _attribute(sys, "unraisablehook"),
    _attribute(threading, "excepthook"),
    (sys.gettrace, sys.settrace),
    (sys.getprofile, sys.setprofile),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    (lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
    (lambda: list(sys.path), _restore_path),
    (random.getstate, random.setstate),
    (np.geterr, lambda kinds: np.seterr(**kinds)),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (torch.is_inference_mode_enabled, _exit_inference_mode),
)
"""Set again only if they have changed."""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restores the settings and random generators of torch, NumPy and Python after a block.

    This includes everything that ``contained`` restores, and also hooks for exceptions, tracing and
    profiling, the recursion limit, garbage collection, locale, the order of ``sys.path``, warning
    filters, NumPy's error handling, anomaly detection, denormals, and torch modes that were entered
    but not exited.
    """
    before = [read() for read, _ in SETTINGS]
    torch_state = torch.get_rng_state()
    numpy_state = np.random.get_state(legacy=True)  # noqa: NPY002 - plugins use it
    function_modes = torch._C._len_torch_function_stack()
    dispatch_modes = torch._C._len_torch_dispatch_stack()
    with warnings.catch_warnings():
        try:
            with contained():
                try:
                    yield
                finally:
                    _exit_modes(function_modes, dispatch_modes)
        finally:
            for (read, put), value in zip(SETTINGS, before, strict=True):
                if read() != value:
                    put(value)
            torch.set_flush_denormal(False)  # torch has no way to read it
            torch.set_rng_state(torch_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def _exit_modes(function_modes: int, dispatch_modes: int) -> None:
    """Pops torch's modes until only this many are left on each stack."""
    popped = []
    while torch._C._len_torch_function_stack() > function_modes:
        popped.append(torch._C._pop_torch_function_stack())
    for mode in popped:
        if isinstance(mode, DeviceContext):  # the default device, which ``contained`` restores
            torch._C._push_on_torch_function_stack(mode)
    while torch._C._len_torch_dispatch_stack() > dispatch_modes:
        torch._C._pop_torch_dispatch_stack()
