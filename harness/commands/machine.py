"""Chooses the device, the number of processes and the number of threads for this machine."""

from __future__ import annotations

import argparse
import math
import os

import torch

from harness.errors import UserError
from harness.isolation.processes import Processes
from harness.runs.pool import Resources


def resources(arguments: argparse.Namespace, count: int) -> Resources:
    """What ``count`` workers may use; raises UserError if the options contradict each other."""
    if count == 0 and arguments.step_timeout < math.inf:
        raise UserError(
            "--step-timeout stops processes, and --workers 0 starts none; give only one of the two"
        )
    return Resources(count, threads(count), arguments.step_timeout)


def workers(arguments: argparse.Namespace) -> int:
    """The value of ``--workers``; by default one per core on the CPU, and one on a GPU."""
    if arguments.workers is not None:
        return int(arguments.workers)
    return _cores() if device(arguments.device) == "cpu" else 1


def device(name: str) -> str:
    """The device to use; raises UserError if this machine does not have it."""
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
    """The number of GPUs, counted in another process, since counting may initialise CUDA.

    A process forked from one that has initialised CUDA cannot use CUDA.
    """
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        return 0
    with Processes() as processes:
        return int(processes.call(torch.cuda.device_count).returned or 0)


def threads(processes: int) -> int:
    """The threads of each process: OMP_NUM_THREADS if it is set, else its share of the cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else max(1, _cores() // max(1, processes))


def _cores() -> int:
    try:
        return min(len(os.sched_getaffinity(0)), 16)
    except AttributeError:  # not on Linux
        return min(os.cpu_count() or 1, 16)
