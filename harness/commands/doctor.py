"""``unlearn doctor``: reports what is installed, and every fault found."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
from pathlib import Path

import torch
from tabulate import tabulate

from harness.commands import machine
from harness.datasets.builtin import load_dataset
from harness.datasets.vetting import class_count
from harness.errors import UserError
from harness.plugins.catalog import load_catalog
from harness.plugins.hookspecs import PROJECT
from harness.records.store import Store
from harness.records.store_lines import RUN
from harness.runs.environment import PACKAGES
from harness.specs.catalog import Catalog
from harness.version import __version__

PACKAGES_OF_OURS = ("harness", "amun_plugin", "baselines")
BUILTIN = "harness.datasets.builtin"
"""The entry point that identifies this distribution, whatever its name."""
LAYOUT = {
    "CIFAR10": "cifar-10-batches-py",
    "CIFAR100": "cifar-100-python",
    "SVHN": "train_32x32.mat",
    "FashionMNIST": "FashionMNIST/raw",
    "MNIST": "MNIST/raw",
}
"""Data set → the file or folder in which torchvision stores it."""


def execute(arguments: argparse.Namespace) -> int:
    """Prints the findings; returns 1 if there is a fault."""
    catalog, plugin_faults = _catalog(arguments.plugins)
    faults = [*_clashes(), *plugin_faults]
    data = arguments.data
    present = [name for name, path in LAYOUT.items() if _has_files(data / path)]
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    packages = [f"{name} {importlib.metadata.version(name)}" for name in (*PACKAGES, "pluggy")]
    findings = [
        ("version", __version__),
        ("python", f"{platform.python_version()} on {platform.platform()}"),
        ("packages", ", ".join(packages)),
        ("device", machine.device(arguments.device)),
        ("GPUs", ", ".join(gpus) or "none"),
        ("data", f"{', '.join(present) or 'nothing'} in {data}; the digits need no files"),
        ("store", f"{len(Store(arguments.store).keys(RUN))} runs in {arguments.store}"),
    ]
    print(tabulate(findings, tablefmt="plain"))
    if arguments.dataset and catalog is not None:
        faults += _describe_dataset(arguments.dataset, catalog, data)
    for fault in faults:
        print(f"fault: {fault}")
    if not faults:
        print("no fault found")
    return 1 if faults else 0


def _has_files(path: Path) -> bool:
    """Whether it is a file, or a folder with a file: a failed download leaves an empty folder."""
    return path.is_file() or (path.is_dir() and any(each.is_file() for each in path.iterdir()))


def _catalog(plugins: list[str]) -> tuple[Catalog | None, list[str]]:
    """The catalog, None if it cannot be built, and the faults of the plugins."""
    try:
        catalog = load_catalog(plugins)
    except UserError as error:
        return None, [str(error)]
    print(f"plugins: {', '.join(sorted({*catalog.origin.values()} - {'harness'}))}")
    left_out = [f"plugin {name} is left out: {why}" for name, why in catalog.failures.items()]
    return catalog, left_out


def _describe_dataset(name: str, catalog: Catalog, data: Path) -> list[str]:
    """Prints how many images each class of a data set has; returns the faults."""
    try:
        train, test = load_dataset(name, catalog.datasets, data, print)
    except UserError as error:
        return [str(error)]
    count = class_count(train, test)
    names = train.classes or [""] * count
    columns = [torch.bincount(part.labels, minlength=count).tolist() for part in (train, test)]
    rows = list(zip(range(count), names, *columns, strict=True))
    head = ["class", "name", "train images", "test images"]
    print(tabulate(rows, head, tablefmt="simple", disable_numparse=True))
    return []


def _clashes() -> list[str]:
    """The faults of our own installation, such as a package of ours that others install too."""
    points = importlib.metadata.entry_points(group=PROJECT)
    own = {point.dist.name for point in points if point.dist and point.value == BUILTIN}
    owners = importlib.metadata.packages_distributions()
    found = []
    for package in PACKAGES_OF_OURS:
        others = sorted({*owners.get(package, [])} - own)
        if others:
            found.append(
                f"the package {package!r} is also installed by {', '.join(others)}; "
                f"use a separate environment"
            )
    if not own:
        found.append("the plugins of this distribution are not installed; run pip install -e .")
    return found
