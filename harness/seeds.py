"""Derives, from the one seed of a run, an independent stream of random numbers for each purpose."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive(seed: int, purpose: str) -> int:
    """A seed in [0, 2^63) for one purpose; different purposes get unrelated seeds."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator, whatever the device, so that runs on CPU and GPU draw the same numbers."""
    return torch.Generator().manual_seed(derive(seed, purpose))


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Seeds the global generators of torch, NumPy and Python for a block, then restores them.

    Weight initialisation and dropout use the global generators, and a plugin's loop may too.
    """
    value = derive(seed, purpose)
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002
    gpus = range(torch.cuda.device_count())  # passed explicitly, to avoid torch's warning
    with torch.random.fork_rng(gpus, device_type="cuda"):
        torch.manual_seed(value)
        random.seed(value)
        np.random.seed(value % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
