"""The six hooks; each takes no arguments and returns the specs that a plugin adds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from harness.specs.protocol import Protocol
from harness.specs.catalog import Backbone, Dataset
from harness.specs.method import Method
from harness.specs.named_recipe import NamedRecipe
from harness.specs.published import Published
from harness.specs.scenario import Scenario, Suite

PROJECT = "unlearning"
"""pluggy's project name and the entry-point group of an installed plugin."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def unlearning_methods() -> Iterable[Method]:
    """Unlearning methods."""
    raise NotImplementedError


@hookspec
def unlearning_backbones() -> Iterable[Backbone]:
    """Backbones in addition to timm's, which need no plugin."""
    raise NotImplementedError


@hookspec
def unlearning_datasets() -> Iterable[Dataset]:
    """Data sets."""
    raise NotImplementedError


@hookspec
def unlearning_protocols() -> Iterable[Protocol]:
    """Evaluation protocols.

    Each is measured on every run whose kind of forget set it is defined for, earlier runs included.
    """
    raise NotImplementedError


@hookspec
def unlearning_scenarios() -> Iterable[Scenario | Suite | NamedRecipe]:
    """Scenarios, suites of several scenarios, and recipes that scenarios can be given by name."""
    raise NotImplementedError


@hookspec
def unlearning_published() -> Iterable[Published]:
    """Numbers that a paper prints; the pages of the scenarios that they belong to show them."""
    raise NotImplementedError
