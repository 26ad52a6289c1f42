"""Imports what steps import late, once, so that every process forked for a step has it."""

from __future__ import annotations

import importlib

LATE = ("scipy.stats", "sklearn.svm", "torch._dynamo")
"""What the built-in protocols import when they measure, and torch's optimisers when they are first
made; the data set's and the network's own libraries are there once these have been looked at."""


def warm() -> None:
    """Imports them into this process; it takes seconds, but only once."""
    for name in LATE:
        importlib.import_module(name)
