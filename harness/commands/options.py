"""How arguments are declared and converted, and the options that several verbs share."""

from __future__ import annotations

import argparse
import math
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError


@dataclass(frozen=True)
class Argument:
    """One option, such as ``--store``, or one positional argument, such as ``methods``."""

    name: str
    explanation: str
    """What ``--help`` says about it."""
    settings: Mapping[str, Any]
    """Further settings of ``add_argument``, such as ``default`` and ``metavar``."""

    @property
    def is_option(self) -> bool:
        """Whether it begins with a dash."""
        return self.name.startswith("-")


def argument(name: str, explanation: str, **settings: Any) -> Argument:
    """Declares an argument; the settings are those of ``ArgumentParser.add_argument``."""
    return Argument(name, explanation, settings)


def folder(option: str) -> Callable[[str], Path]:
    """A converter to the path of a folder, which need not exist yet.

    It raises UserError if the path is a file, or if the folder cannot be created.
    """

    def convert(value: str) -> Path:
        path = Path(value)
        try:
            found = path.stat()
        except FileNotFoundError:
            return path
        except OSError as error:
            raise UserError(f"{option} {value}: {error.strerror}; expected a folder") from None
        if not stat.S_ISDIR(found.st_mode):
            raise UserError(f"{option} {value} is a file; expected a folder")
        return path

    return convert


def whole(least: int, most: int) -> Callable[[str], int]:
    """A converter to a whole number from ``least`` to ``most``."""

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

    return convert


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds above 0; got {text!r}")
    return value


def _pool_size(text: str) -> int:
    from harness.specs.pool_size import pool_size  # noqa: PLC0415 - --help imports no specs

    return pool_size(text)


STORE = argument(
    "--store",
    "the folder of finished results (default: runs)",
    metavar="DIR",
    default=Path("runs"),
    type=folder("--store"),
)
OUT = argument(
    "--out",
    "the folder of the leaderboards: pages, with published records in records/ and tuned settings "
    "in tuned/ (default: leaderboards)",
    metavar="DIR",
    default=Path("leaderboards"),
    type=folder("--out"),
)
DATA = argument(
    "--data",
    "the folder of torchvision's data sets (default: data)",
    metavar="DIR",
    default=Path("data"),
    type=folder("--data"),
)
PLUGINS = argument(
    "-p",
    "load a plugin that is not installed: a module's name or a .py file; may be repeated",
    metavar="PLUGIN",
    dest="plugins",
    action="append",
    default=[],
)
DEVICE = argument(
    "--device",
    "where models are trained: cpu, cuda or cuda:N (default: cuda if there is a GPU, else cpu)",
    metavar="DEVICE",
    default="",
)
WORKERS = argument(
    "--workers",
    "the number of parallel processes; 0 works in this process (default: one per core on the "
    "CPU, one on a GPU)",
    metavar="N",
    type=whole(0, 256),
)
STEP_TIMEOUT = argument(
    "--step-timeout",
    "stop any step, such as a training run, that takes longer, and report it as failed (default: "
    "no limit)",
    metavar="SECONDS",
    type=_seconds,
    default=math.inf,
)
BACKBONE = argument(
    "--backbone",
    "use this backbone instead of the scenario's: a plugin's or any of timm's, such as resnet18; "
    "settings go in brackets: 'resnet18[drop_rate=0.1]'",
    metavar="NAME",
    default="",
)
DATASET = argument(
    "--dataset",
    "use this data set instead of the scenario's: an installed one, or folder:PATH, a folder of "
    "images with one subfolder per class",
    metavar="NAME",
    default="",
)
RECIPE = argument(
    "--recipe",
    "train models by this recipe instead of the scenario's; `unlearn list recipes` lists them",
    metavar="NAME",
    default="",
)
PROTOCOLS = argument(
    "--protocols",
    "the only protocols to measure, including those that need further models (default: those "
    "that need none; if the scenario or --pool gives a pool, those that need only that; and those "
    "of the suite); any methods must come before it",
    metavar="NAME",
    action="extend",
    nargs="+",
    default=[],
)
POOL = argument(
    "--pool",
    "how many reference models membership inference uses: smoke (4), standard (16), full (64) or "
    "another even number (default: the scenario's number, or standard if it has none and a "
    "protocol needs a pool)",
    metavar="SIZE",
    type=_pool_size,
    default=0,
)
