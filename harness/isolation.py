"""Keeps what a plugin changes of the process from whatever runs in it afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


@contextmanager
def contained() -> Iterator[None]:
    """Puts torch's global settings and the working directory back after a block.

    The settings: default dtype and device, number of threads, grad mode, deterministic
    algorithms, precision of float32 products, cuDNN's switches. ``seeded`` does the same for the
    generators of random numbers.
    """
    folder = Path.cwd()
    dtype = torch.get_default_dtype()
    device = torch.empty(0).device  # torch 2.6 cannot name its default once that was put back
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    precision = torch.get_float32_matmul_precision()
    cudnn = torch.backends.cudnn
    switches = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32)
    try:
        yield
    finally:
        os.chdir(folder)
        torch.set_default_dtype(dtype)
        torch.set_default_device(None if device.type == "cpu" else device)  # none: torch's own
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_grad_enabled(grad)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.set_float32_matmul_precision(precision)
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = switches
