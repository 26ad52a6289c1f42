"""``unlearn doctor``: what is installed and what stands in the way."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
from pathlib import Path

import torch
from tabulate import tabulate

from harness.circumstances import PACKAGES
from harness.commands import options
from harness.errors import UserError
from harness.hookspecs import PROJECT
from harness.plan import RUN
from harness.plugins import load_catalog
from harness.store import Store
from harness.version import __version__

NAME, HELP = "doctor", "what is installed, which device, which data, which plugin failed and why"

OURS = ("harness", "amun_plugin", "baselines")
LAYOUT = {
    "CIFAR10": "cifar-10-batches-py",
    "CIFAR100": "cifar-100-python",
    "SVHN": "train_32x32.mat",
    "FashionMNIST": "FashionMNIST/raw",
    "MNIST": "MNIST/raw",
}
"""Data set → what torchvision leaves in its folder."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    options.add_device(parser)
    options.add_store(parser)
    options.add_plugins(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Prints the findings; 1 where one of them is a fault."""
    faults = [*_clashes(), *_plugin_faults(arguments.plugins)]
    data = options.folder("--data", arguments.data)
    there = [name for name, path in LAYOUT.items() if (data / path).exists()]
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    packages = [f"{name} {importlib.metadata.version(name)}" for name in (*PACKAGES, "pluggy")]
    findings = [
        ("version", __version__),
        ("python", f"{platform.python_version()} on {platform.platform()}"),
        ("packages", ", ".join(packages)),
        ("device", options.device(arguments.device)),
        ("GPUs", ", ".join(gpus) or "none"),
        ("data", f"{', '.join(there) or 'nothing'} in {data}; the digits need no file"),
        ("store", f"{len(Store(Path(arguments.store)).keys(RUN))} runs in {arguments.store}"),
    ]
    print(tabulate(findings, tablefmt="plain"))
    for fault in faults:
        print(f"fault: {fault}")
    if not faults:
        print("no fault found")
    return 1 if faults else 0


def _plugin_faults(plugins: list[str]) -> list[str]:
    try:
        catalog = load_catalog(plugins)
    except UserError as error:
        return [str(error)]
    print(f"plugins: {', '.join(sorted({*catalog.origin.values()} - {'harness'}))}")
    return [f"plugin {name} is left out: {why}" for name, why in catalog.failures.items()]


def _clashes() -> list[str]:
    """Other distributions that bring a package of one of our names."""
    points = importlib.metadata.entry_points(group=PROJECT)
    own = {point.dist.name for point in points if point.dist and point.value == "harness.datasets"}
    owners = importlib.metadata.packages_distributions()
    found = []
    for package in OURS:
        others = sorted({*owners.get(package, [])} - own)
        if others:
            found.append(
                f"the package {package!r} is also that of {', '.join(others)}; "
                f"use an environment of its own"
            )
    if not own:
        found.append("the plugins of this distribution are not installed; run pip install -e .")
    return found
