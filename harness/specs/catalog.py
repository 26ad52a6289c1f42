"""Backbones, data sets, and the catalog of every spec that plugins provide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.specs.checks import (
    Function,
    OrNone,
    Text,
    Whole,
    settle,
)
from harness.specs.method import Method
from harness.specs.named_recipe import NamedRecipe
from harness.specs.names import check_name
from harness.specs.protocol import Protocol
from harness.specs.published import Published
from harness.specs.scenario import Scenario, Suite

if TYPE_CHECKING:
    from torch import nn

    from harness.specs.data import Data


@dataclass(frozen=True)
class Backbone:
    """A named network. timm builds any backbone that no plugin provides."""

    name: str
    build: Callable[..., nn.Module]
    """``build(channels=…, classes=…, size=(h, w), stem=…)``; its input is already normalised."""

    def __post_init__(self) -> None:
        check_name("backbone", self.name)
        settle(self, f"backbone {self.name!r}", build=Function())


@dataclass(frozen=True)
class Dataset:
    """A named train and test set."""

    name: str
    load: Callable[[Path], tuple[Data, Data]]
    """Takes the folder given by ``--data``; returns (train, test) on the CPU."""
    source: str = ""
    channels: int | None = None
    """Channels per image; needed only if ``(n, c, h, w)`` could be read as ``(n, h, w, c)``."""

    def __post_init__(self) -> None:
        check_name("dataset", self.name)
        settle(
            self,
            f"dataset {self.name!r}",
            load=Function(),
            source=Text(empty=True),
            channels=OrNone(Whole(1)),
        )


Spec = Method | Backbone | Dataset | Protocol | Scenario | Suite | NamedRecipe | Published


@dataclass(frozen=True)
class Catalog:
    """Every spec by name, built once in ``main()`` and passed down."""

    methods: Mapping[str, Method] = field(default_factory=dict)
    backbones: Mapping[str, Backbone] = field(default_factory=dict)
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    scenarios: Mapping[str, Scenario] = field(default_factory=dict)
    suites: Mapping[str, Suite] = field(default_factory=dict)
    publications: Mapping[str, Published] = field(default_factory=dict)
    recipes: Mapping[str, NamedRecipe] = field(default_factory=dict)
    origin: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(kind, name) → the plugin that provides it."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Plugin → why it was left out."""
