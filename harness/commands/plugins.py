"""Loads the plugins for a command, and reports those that were left out."""

from __future__ import annotations

import gc

import torch

from harness.plugins.catalog import load_catalog
from harness.specs.catalog import Catalog
from harness.terminal import one_line, say


def catalog(plugins: list[str]) -> Catalog:
    """The catalog of all installed plugins and of those given by ``-p``.

    Plugins may compute when they are imported, so torch is first limited to a single thread: a
    process forked from one with OpenMP threads can hang.
    """
    torch.set_num_threads(1)
    gc.freeze()  # garbage collection need not visit torch's objects; this saves 0.5 s of CPU
    try:
        loaded = load_catalog(plugins)
    finally:
        gc.unfreeze()  # what is still frozen at exit counts as a leak, and a library may say so
    for plugin, reason in loaded.failures.items():
        say(f"plugin {plugin} is left out: {one_line(reason)}")
    return loaded
