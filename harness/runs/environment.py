"""Describes the environment in which a model is made: hardware, packages, commit and time."""

from __future__ import annotations

import functools
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn")


def circumstances(device: torch.device, *, isolated: bool) -> dict[str, Any]:
    """The environment, as recorded with a run; ``isolated`` if the model has its own process."""
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else _processor()
    return {
        "device": device.type,
        "hardware": name,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "packages": {package: _version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "commit": commit(),
        "isolated": isolated,
        "finished": now(),
    }


def now() -> str:
    """The current UTC time, in a format whose texts sort by time."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@functools.cache
def commit() -> str:
    """The harness's commit, with ``-dirty`` if files differ; empty outside a checkout.

    Later calls return the result of the first, since that is the code that was loaded.
    """
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)  # fails elsewhere
        return _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*words: str) -> str:
    done = subprocess.run(  # noqa: S603 - all arguments are constants of this file
        ["git", *words],  # noqa: S607
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()
