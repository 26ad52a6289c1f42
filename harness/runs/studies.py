"""Optuna's part in tuning: a journal a study, open in one command at a time, and what it draws."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.specs.method import Method
from harness.specs.search import Choice, Setting

WARM_UP = 8
"""Trials drawn at random before the sampler learns from them."""


@contextmanager
def opened(path: Path, wait: Callable[[], None]) -> Iterator[Any]:
    """The study in a journal, which no other command has open meanwhile.

    ``wait`` is called where another has it, before this one waits. A trial that was broken off is
    none.
    """
    lock = FileLock(path.with_suffix(".lock"))  # the system frees a dead holder's
    try:
        lock.acquire(timeout=0)
    except Timeout:
        wait()
        lock.acquire()
    try:
        _mend(path)
        yield _study(path)
    finally:
        lock.release()


def _mend(path: Path) -> None:
    """Removes what a command that was killed left: half a line, and the lock of Optuna's own."""
    Path(f"{path}.lock").unlink(missing_ok=True)
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def _study(path: Path) -> Any:
    from optuna import create_study
    from optuna import logging as talk
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    talk.set_verbosity(logging.WARNING)
    Path(f"{path}.lock").unlink(missing_ok=True)  # Optuna's own, of a command that was killed
    if path.exists():
        text = path.read_bytes()
        os.truncate(path, text.rfind(b"\n") + 1)  # half a line of such a one
    storage = JournalStorage(JournalFileBackend(str(path)))
    name = path.stem.rpartition("-")[2]
    study = create_study(storage=storage, study_name=name, load_if_exists=True)
    for broken_off in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(broken_off.number, state=TrialState.FAIL)
    return study


def sampler(seed: int) -> Any:
    """What draws the next settings; the seed decides them, with the trials before."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed % 2**32, n_startup_trials=WARM_UP)


def distributions(method: Method) -> dict[str, Any]:
    """Setting → what Optuna may draw for it."""
    return {
        name: _distribution(setting, whole=isinstance(getattr(method.config, name), int))
        for name, setting in method.search.items()
    }


def _distribution(setting: Setting, *, whole: bool) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(setting, Choice):
        return CategoricalDistribution(setting.options)
    if whole:
        return IntDistribution(int(setting.low), int(setting.high), log=setting.log)
    return FloatDistribution(setting.low, setting.high, log=setting.log)
