"""Everything that needs Optuna: studies, each in its own journal, samplers and distributions."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.specs.search import Choice, Setting

WARM_UP = 8
"""The number of trials, of given or random settings, before the sampler learns from them."""


@contextmanager
def opened(path: Path, wait: Callable[[], None]) -> Iterator[Any]:
    """The study in a journal, under a lock, so that one command at a time has it open.

    ``wait`` is called if another command has the lock, before waiting for it. Trials that were
    interrupted count as failed.
    """
    lock = FileLock(path.with_suffix(".lock"))  # the system releases it if its holder dies
    try:
        lock.acquire(timeout=0)
    except Timeout:
        wait()
        lock.acquire()
    try:
        _repair(path)
        yield _study(path)
    finally:
        lock.release()


def _repair(path: Path) -> None:
    """Removes what a killed command left behind: half a line, and Optuna's own lock."""
    Path(f"{path}.lock").unlink(missing_ok=True)
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def _study(path: Path) -> Any:
    from optuna import create_study
    from optuna import logging as optuna_logging
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    optuna_logging.set_verbosity(logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(path)))
    name = path.stem.rpartition("-")[2]
    study = create_study(storage=storage, study_name=name, load_if_exists=True)
    for interrupted in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(interrupted.number, state=TrialState.FAIL)
    for _ in study.get_trials(states=(TrialState.WAITING,)):  # given, but not begun
        study.tell(study.ask(), state=TrialState.FAIL)
    return study


def sampler(seed: int) -> Any:
    """Draws the next settings, which depend only on the seed and the earlier trials."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed % 2**32, n_startup_trials=WARM_UP)


def distributions(space: Mapping[str, Setting], config: Any) -> dict[str, Any]:
    """Setting → the distribution that Optuna draws it from."""
    return {
        name: _distribution(setting, whole=isinstance(getattr(config, name), int))
        for name, setting in space.items()
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
