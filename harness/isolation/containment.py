"""Restores what plugin code changes in the process, for whatever runs there next."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch


@contextmanager
def contained() -> Iterator[None]:
    """Restores torch's global settings and the state of the process after a block.

    The settings are default dtype and device, number of threads, grad mode, autocast, deterministic
    algorithms, precision of float32 products, and the switches of cuDNN and MKL-DNN. The state of
    the process is its working directory, environment, standard streams, timers and signal handlers.
    ``seeded`` restores random generators. Patched modules and classes are not restored
    here, but by ``Everyones`` where a method has no process of its own.

    If the block forks a process that leaves the block too, that process ends here.
    """
    own = os.getpid()
    try:
        with ExitStack() as undo:
            for part in (
                _folder_and_environment,
                _streams,
                _timers,
                _defaults,
                _autocast,
                _algorithms,
            ):
                undo.enter_context(part())
            yield
    finally:
        if os.getpid() != own:
            os._exit(0)


@contextmanager
def _folder_and_environment() -> Iterator[None]:
    folder = Path.cwd()
    environment = dict(os.environ)
    try:
        yield
    finally:
        os.chdir(folder)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)


@contextmanager
def _streams() -> Iterator[None]:
    streams = sys.stdin, sys.stdout, sys.stderr
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        for descriptor in range(3):  # otherwise a file of the store could get a stream's number
            with suppress(OSError):
                _reopen(descriptor)


def _reopen(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


@contextmanager
def _timers() -> Iterator[None]:
    """Cancels timers and restores signal handlers, which only the main thread may set."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        yield
    finally:
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            if any(signal.getitimer(timer)):
                signal.setitimer(timer, 0)
        for number, handler in before.items():
            if main and handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextmanager
def _defaults() -> Iterator[None]:
    dtype = torch.get_default_dtype()
    device = torch.empty(0).device  # torch 2.6 cannot name the default after it was restored
    threads = torch.get_num_threads()
    grad = torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_default_device(None if device.type == "cpu" else device)  # None: torch's default
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_grad_enabled(grad)


@contextmanager
def _autocast() -> Iterator[None]:
    before = {
        kind: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        for kind in ("cpu", "cuda")
    }
    cached = torch.is_autocast_cache_enabled()
    try:
        yield
    finally:
        for kind, (enabled, dtype) in before.items():
            torch.set_autocast_enabled(kind, enabled)
            torch.set_autocast_dtype(kind, dtype)
        torch.set_autocast_cache_enabled(cached)
        torch.clear_autocast_cache()


@contextmanager
def _algorithms() -> Iterator[None]:
    deterministic = _deterministic()
    precision = torch.get_float32_matmul_precision()
    cudnn = torch.backends.cudnn
    switches = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32)
    mkldnn = torch.backends.mkldnn.enabled
    try:
        yield
    finally:
        if _deterministic() != deterministic:  # its first call takes half a second
            torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
        torch.set_float32_matmul_precision(precision)
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = switches
        if torch.backends.mkldnn.enabled != mkldnn:
            torch.backends.mkldnn.set_flags(mkldnn)  # type: ignore[no-untyped-call]


def _deterministic() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
