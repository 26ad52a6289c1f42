"""Options that several verbs share, and what they mean."""

from __future__ import annotations

import argparse
import math
import os
import stat
import sys
from pathlib import Path

import torch

from harness.errors import UserError
from harness.isolation.processes import Family
from harness.plugins.catalog import load_catalog
from harness.runs.pool import Means
from harness.specs.catalog import Catalog
from harness.terminal import one_line


def add_store(parser: argparse.ArgumentParser) -> None:
    """``--store``."""
    parser.add_argument(
        "--store",
        default="runs",
        type=lambda value: str(folder("--store", value)),
        metavar="DIR",
        help="where results are kept (default: runs)",
    )


def add_plugins(parser: argparse.ArgumentParser) -> None:
    """``-p``."""
    parser.add_argument(
        "-p",
        dest="plugins",
        action="append",
        default=[],
        metavar="MODULE_OR_FILE",
        help="a plugin that is not installed: a module, or a .py file",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """``--device`` and ``--data``."""
    parser.add_argument(
        "--device",
        default="",
        metavar="DEVICE",
        help="cpu, cuda or cuda:N (default: cuda where there is one)",
    )
    parser.add_argument(
        "--data", default="data", metavar="DIR", help="torchvision's data folder (default: data)"
    )


def add_derivation(parser: argparse.ArgumentParser) -> None:
    """``--backbone`` and ``--dataset``."""
    parser.add_argument("--backbone", default="", metavar="NAME", help="any model of timm")
    parser.add_argument("--dataset", default="", metavar="NAME", help="or folder:PATH")


def add_out(parser: argparse.ArgumentParser, purpose: str) -> None:
    """``--out``: the folder of pages, records and tuned settings."""
    parser.add_argument(
        "--out", default="leaderboards", metavar="DIR", help=f"{purpose} (default: leaderboards)"
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """``--workers``."""
    parser.add_argument(
        "--workers",
        type=whole(0, 256),
        default=None,
        metavar="N",
        help="processes (default: one a core on the CPU, one on a GPU; 0: work in this one)",
    )


def add_step_timeout(parser: argparse.ArgumentParser) -> None:
    """``--step-timeout``."""
    parser.add_argument(
        "--step-timeout",
        type=_seconds,
        default=math.inf,
        metavar="SECONDS",
        help="end a step that takes longer: its row has failed (default: no limit)",
    )


def means(arguments: argparse.Namespace, count: int) -> Means:
    """What the steps may take, ``count`` at once; raises UserError where options contradict."""
    if count == 0 and arguments.step_timeout < math.inf:
        raise UserError(
            "--step-timeout needs processes that it can end, and --workers 0 has none; give one of "
            "them"
        )
    return Means(count, threads(count), arguments.step_timeout)


def workers(arguments: argparse.Namespace) -> int:
    """What ``--workers`` says; else one process a core on the CPU, and one on a GPU."""
    if arguments.workers is not None:
        return int(arguments.workers)
    return _cores() if device(arguments.device) == "cpu" else 1


def device(name: str) -> str:
    """The device's full name; raises UserError where this machine lacks it."""
    if not name:
        return "cuda" if _gpus() else "cpu"
    try:
        wanted = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name!r}: expected cpu, cuda or cuda:N") from None
    if wanted.type == "cuda" and (wanted.index or 0) >= (count := _gpus()):
        raise UserError(f"--device {name}: this machine has {count} CUDA devices; try --device cpu")
    if wanted.type not in ("cpu", "cuda") or (wanted.type == "cpu" and wanted.index):
        raise UserError(f"--device {name}: only cpu and cuda are supported")
    return name


def _gpus() -> int:
    """How many this machine has; asked elsewhere, for the answer may tie CUDA to the process.

    A process that is forked from one that has used CUDA cannot use it any more.
    """
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        return 0
    with Family() as family:
        return int(family.ask(torch.cuda.device_count).said or 0)


def catalog(plugins: list[str]) -> Catalog:
    """The catalog; a plugin that was left out is reported on standard error.

    Plugins may compute when they are imported, so torch gets one thread before: a process that is
    forked from one with OpenMP threads can hang.
    """
    torch.set_num_threads(1)
    loaded = load_catalog(plugins)
    for plugin, reason in loaded.failures.items():
        print(f"unlearn: plugin {plugin} is left out: {one_line(reason)}", file=sys.stderr)
    return loaded


def folder(option: str, value: str) -> Path:
    """The path; raises UserError where a file is in its place, or where there can be none."""
    path = Path(value)
    try:
        there = path.stat()
    except FileNotFoundError:
        return path
    except OSError as error:
        raise UserError(f"{option} {value}: {error.strerror}; expected a folder") from None
    if not stat.S_ISDIR(there.st_mode):
        raise UserError(f"{option} {value} is a file; expected a folder")
    return path


def whole(least: int, most: int) -> type[int]:
    """A converter for argparse: whole numbers from ``least`` to ``most``."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} to {most}; got {text!r}"
            )
        return value

    return convert  # type: ignore[return-value]


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds above 0; got {text!r}")
    return value


def threads(processes: int) -> int:
    """For each process; what OMP_NUM_THREADS says counts, since two busy threads a core crawl."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else max(1, _cores() // max(1, processes))


def _cores() -> int:
    try:
        return min(len(os.sched_getaffinity(0)), 16)
    except AttributeError:  # not on Linux
        return min(os.cpu_count() or 1, 16)
