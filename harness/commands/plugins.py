"""Loads the plugins for a command, and reports those that were left out."""

from __future__ import annotations

import gc

import torch

from harness.plugins.catalog import load_catalog
from harness.specs.catalog import Catalog
from harness.terminal import one_line, say


def catalog(plugins: list[str]) -> Catalog:
    """The catalog of all installed plugins and of these, which ``-p`` names.

    Plugins may compute when they are imported, so torch gets a single thread first: a process that
    is forked from one with OpenMP threads can hang.
    """
    torch.set_num_threads(1)
    gc.freeze()  # torch's objects stay; looking at them again and again takes 0.5 s of CPU
    loaded = load_catalog(plugins)
    for plugin, reason in loaded.failures.items():
        say(f"plugin {plugin} is left out: {one_line(reason)}")
    return loaded
