"""``unlearn list``: lists what the installed plugins offer."""

from __future__ import annotations

import argparse
from typing import Any

from tabulate import tabulate

from harness.commands import plugins
from harness.errors import unknown
from harness.leaderboard.problem import task
from harness.records.lines import plain
from harness.specs.catalog import Catalog
from harness.specs.forgetting import KINDS as FORGET_KINDS

KINDS = (
    "methods",
    "backbones",
    "datasets",
    "protocols",
    "scenarios",
    "suites",
    "recipes",
    "publications",
)


def execute(arguments: argparse.Namespace) -> int:
    """Prints a table of each kind."""
    if arguments.kind and arguments.kind not in KINDS:
        raise unknown("kind", arguments.kind, KINDS)
    catalog = plugins.catalog(arguments.plugins)
    for kind in [arguments.kind] if arguments.kind else KINDS:
        head, rows = _table(kind, catalog)
        print(f"{kind}\n{tabulate(rows, head, tablefmt='simple')}")
        if kind == "backbones":
            print("and every timm model by its name; see timm.list_models()")
        if kind == "publications":
            print("and those in the folder published/ of a leaderboard")
        print()
    return 0


def _table(kind: str, catalog: Catalog) -> tuple[list[str], list[list[str]]]:
    singular = kind.removesuffix("s")
    extra = {
        "methods": (["settings", "paper"], _method),
        "backbones": ([], lambda _: []),
        "datasets": (["source"], lambda spec: [spec.source]),
        "protocols": (["measures", "defined for", "needs", "paper"], _protocol),
        "scenarios": (["task", "dataset", "backbone", "pool"], _scenario),
        "suites": (["scenarios", "methods", "further protocols"], _suite),
        "publications": (["scenarios", "numbers"], _publication),
        "recipes": (["training", "paper"], lambda spec: [spec.describe(), spec.paper]),
    }
    head, describe = extra[kind]
    rows = [
        [name, *describe(spec), catalog.origin[singular, name]]
        for name, spec in sorted(getattr(catalog, kind).items())
    ]
    return ["name", *head, "plugin"], rows


def _method(spec: Any) -> list[str]:
    settings = {name: value for name, value in plain(spec.config).items() if name != "is"}
    return [" ".join(f"{name}={value}" for name, value in settings.items()), spec.paper]


def _protocol(spec: Any) -> list[str]:
    kinds = "all" if spec.defined_for == FORGET_KINDS else ", ".join(sorted(spec.defined_for))
    measures = ", ".join(metric.name for metric in spec.metrics)
    return [measures, kinds, ", ".join(sorted(spec.needs)), spec.paper]


def _scenario(spec: Any) -> list[str]:
    return [task(spec), spec.dataset, spec.backbone, str(spec.pool or "")]


def _suite(spec: Any) -> list[str]:
    methods = ", ".join(spec.methods) or "all installed"
    return [", ".join(spec.scenarios), methods, ", ".join(spec.protocols)]


def _publication(spec: Any) -> list[str]:
    return [", ".join(spec.scenarios), str(len(spec.numbers))]
