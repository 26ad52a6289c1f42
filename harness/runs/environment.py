"""Where and with what a model was made: device, packages, commit, time."""

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
    """Where and with what a model is made, and whether in a process of its own."""
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
    """The time, such that a later one is greater as text."""
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
    """The harness's commit, with ``-dirty`` where files differ; empty outside its checkout.

    It is that of the first call, since the code that runs is the one that was loaded.
    """
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)  # or it is another's
        return _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*words: str) -> str:
    done = subprocess.run(  # noqa: S603 - the words are this file's own
        ["git", *words],  # noqa: S607
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()
