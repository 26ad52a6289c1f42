"""Imports slow libraries once, so that every process forked for a step already has them."""

from __future__ import annotations

import importlib

LATE = ("scipy.stats", "sklearn.svm", "torch._dynamo")
"""Imported by the built-in protocols when they measure, and by torch when it makes its first
optimiser. Libraries that data sets and networks need are imported before any process is forked."""


def warm() -> None:
    """Imports the libraries into this process, which takes a few seconds."""
    for name in LATE:
        importlib.import_module(name)
