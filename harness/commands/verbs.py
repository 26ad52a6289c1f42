"""The verbs of ``unlearn``, and what each accepts.

Each verb is implemented by the file of its name in this folder. The file is imported only after the
command line has been parsed, so that ``--help`` appears at once, without torch.

``parsing`` uses argparse. Click was tried: it does not group options in ``--help``, has no option
with several values, and mistakes the next option for a forgotten value, as in
``--store --device cpu``. Working around that would take more code than it saves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.commands.options import (
    BACKBONE,
    DATA,
    DATASET,
    DEVICE,
    OUT,
    PLUGINS,
    POOL,
    PROTOCOLS,
    RECIPE,
    STEP_TIMEOUT,
    STORE,
    WORKERS,
    Argument,
    argument,
    whole,
)
from harness.version import __version__

HELP = argument("--help", "show this help and exit", action="help")
VERSION = argument("--version", "show the version and exit", action="version", version=__version__)

RESOURCES = "processes and device"
FOLDERS = "folders and plugins"


@dataclass(frozen=True)
class Verb:
    """A verb with its arguments, grouped as in ``--help``: heading → arguments."""

    summary: str
    groups: Mapping[str, Sequence[Argument]]

    def arguments(self) -> Iterator[Argument]:
        """All of them, ``--help`` first."""
        yield HELP
        for group in self.groups.values():
            yield from group


LIST = Verb(
    "List what the installed plugins offer.",
    {
        "what to list": [
            argument(
                "kind",
                "methods, backbones, datasets, protocols, scenarios, suites, recipes or "
                "publications (default: all)",
                nargs="?",
                metavar="KIND",
            )
        ],
        FOLDERS: [PLUGINS],
    },
)

RUN = Verb(
    "Run whatever remains of a suite or of scenarios: train, unlearn and measure.",
    {
        "what to run": [
            argument(
                "methods",
                "the methods to run (default: those of the suite, or all)",
                nargs="*",
                metavar="METHOD",
            ),
            argument("--suite", "the suite to run (default: digits)", metavar="NAME", default=""),
            argument(
                "--scenario",
                "the scenarios to run instead of a suite; any methods must come before it",
                metavar="NAME",
                dest="scenarios",
                action="extend",
                nargs="+",
                default=[],
            ),
            BACKBONE,
            DATASET,
            RECIPE,
            argument(
                "--replicates",
                "the number of replicates, each with a seed of its own (default: the scenario's "
                "number); of a scenario that crosses seeds, so many of its pairs, of which the "
                "first share no seed",
                metavar="N",
                type=whole(1, 1000),
                default=0,
            ),
            argument(
                "--seed",
                "the seed of the first replicate; the next ones count up from it (default: 0); "
                "not for a scenario that crosses seeds",
                metavar="FIRST",
                type=whole(0, 10**9),
            ),
            PROTOCOLS,
            POOL,
            argument(
                "--again",
                "rerun this method even if it is finished; may be repeated",
                metavar="METHOD",
                action="append",
                default=[],
            ),
            argument("--dry-run", "say what would be run, but run nothing", action="store_true"),
        ],
        "settings of the methods": [
            argument(
                "--set",
                "change one setting of a method, as in finetune.lr=0.01; may be repeated",
                metavar="METHOD.FIELD=VALUE",
                dest="settings",
                action="append",
                default=[],
            ),
            argument(
                "--defaults",
                "ignore tuned settings and run with the methods' defaults (default: settings "
                "tuned for a scenario are used, even if the method or the scenario has changed "
                "since, and pages mark such rows)",
                action="store_true",
            ),
        ],
        RESOURCES: [WORKERS, STEP_TIMEOUT, DEVICE],
        FOLDERS: [STORE, OUT, DATA, PLUGINS],
    },
)

TUNE = Verb(
    "Choose methods' settings for a scenario by trials on data that is never reported.",
    {
        "what to tune": [
            argument(
                "methods",
                "the methods to tune (default: all that have a search space)",
                nargs="*",
                metavar="METHOD",
            ),
            argument(
                "--scenario", "the scenario to tune for (required)", metavar="NAME", required=True
            ),
            BACKBONE,
            DATASET,
            RECIPE,
            argument(
                "--trials",
                "the number of settings to try for each method (default: 20)",
                metavar="N",
                type=whole(1, 10_000),
                default=20,
            ),
            argument(
                "--replicates",
                "the number of original models that each trial runs on; the best settings are "
                "confirmed on as many others (default: 4)",
                metavar="N",
                type=whole(1, 100),
                default=4,
            ),
        ],
        RESOURCES: [
            dataclasses.replace(
                WORKERS,
                explanation="the number of parallel processes, one for each method, or several if "
                "there are fewer methods (default: one per core on the CPU, one on a GPU)",
                settings={**WORKERS.settings, "type": whole(1, 256)},
            ),
            STEP_TIMEOUT,
            DEVICE,
        ],
        FOLDERS: [STORE, OUT, DATA, PLUGINS],
    },
)

MEASURE = Verb(
    "Add missing measurements to finished runs, without training.",
    {
        "what to measure": [
            dataclasses.replace(
                PROTOCOLS,
                explanation="the only protocols to measure (default: all for which the store has "
                "the models that they need)",
            ),
            POOL,
        ],
        RESOURCES: [WORKERS, STEP_TIMEOUT, DEVICE],
        FOLDERS: [STORE, DATA, PLUGINS],
    },
)

LEADERBOARD = Verb(
    "Publish the runs of the store as records, and render the leaderboards from them.",
    {
        "what to publish": [
            argument(
                "--check",
                "write nothing; exit with status 1 if a file is out of date",
                action="store_true",
            ),
            argument(
                "--replace",
                "replace the published runs of this method, or of this scenario if its definition "
                "has changed, with those of the store, whatever their number, source or machine; "
                "'all' replaces everything that the store contains; may be repeated",
                metavar="NAME",
                action="append",
                default=[],
            ),
        ],
        FOLDERS: [STORE, OUT, PLUGINS],
    },
)

SHOW = Verb(
    "Show one run: its settings, where it ran, what it cost and what was measured.",
    {
        "what to show": [
            argument("run_id", "the run's id, or its first digits", metavar="RUN_ID"),
        ],
        FOLDERS: [STORE, OUT, PLUGINS],
    },
)

DOCTOR = Verb(
    "Report what is installed, which devices and data exist, and which plugins failed and why.",
    {
        "what to examine": [
            argument(
                "--dataset",
                "read this data set too, or folder:PATH, and count the images of each class",
                metavar="NAME",
                default="",
            ),
            DEVICE,
        ],
        FOLDERS: [STORE, DATA, PLUGINS],
    },
)

VERBS = {
    "list": LIST,
    "run": RUN,
    "tune": TUNE,
    "measure": MEASURE,
    "leaderboard": LEADERBOARD,
    "show": SHOW,
    "doctor": DOCTOR,
}
