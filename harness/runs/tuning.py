"""Chooses the settings of methods by trials, each method in its own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from harness.errors import UserError
from harness.isolation.processes import Processes
from harness.plugins.source_hash import method_hash
from harness.records.lines import identity
from harness.records.store import StoreError
from harness.records.tuned import Trial, Tuning, tuning_of
from harness.runs.points import next_point
from harness.runs.studies import distributions, opened, sampler
from harness.runs.trials import FIRST_SEED, TrialSetup
from harness.runs.warm import warm
from harness.seeds import derive
from harness.specs.method import Method

WAITING = "another `unlearn tune` is tuning it; waiting for its trials"

MISTAKE = "mistake"
"""The key under which a process reports a UserError in place of a tuning."""

RESULT_BYTES = 1 << 26
"""Enough for a tuning of ten thousand trials."""

CONFIRMED = 3
"""The number of best settings that are judged again on fresh originals, beside the defaults."""

PROCEDURE = 2
"""Raised when the trials of a study would be other ones."""

WORST = 1000.0
"""The gap that the sampler is given for a trial that failed."""


def tune(
    method: Method,
    setup: TrialSetup,
    trials: int,
    on_trial: Callable[[int], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Tuning:
    """Tunes a method by this many trials; those that are already in the store count.

    The first trials are the defaults and a few points around them. The best settings and the
    defaults are then judged again on originals that no trial used.

    ``on_trial`` is called with the number of trials done, before each new one. A trial's settings
    depend only on its number and on the trials before it, so an interrupted tuning ends like an
    uninterrupted one. If another command is tuning the same method, this one says so, waits, and
    uses its trials.
    """
    store = setup.workspace.store
    path = store.root / "studies" / f"{method.name}-{_study_id(method, setup)}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened(path, lambda: say(f"{method.name}: {WAITING}")) as study:
            done = [_read(each) for each in study.get_trials() if each.state.name == "COMPLETE"]
            for number in range(len(done), trials):
                on_trial(number)
                done.append(_try_next(study, method, setup, done))
            tuning = Tuning(
                source=method_hash(method),
                replicates=len(setup.replicates),
                trials=tuple(done[:trials]),
                problem=setup.tuned_for,
            )
            return replace(tuning, confirmed=_confirmed(method, setup, tuning))
    except OSError as error:
        raise StoreError(f"cannot write to --store {store.root}: {error.strerror}") from None


def tune_each(
    methods: Sequence[str],
    setup: TrialSetup,
    trials: int,
    workers: int,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[str, Tuning | str]]:
    """Yields each method with its tuning once that is done, or with how its process died.

    ``workers`` methods are tuned in parallel. Each has its own process, which forks others for its
    steps: one at a time, or several if there are fewer methods than processes. Raises UserError if
    a method's process does.
    """
    setup = setup.shared_by(len(methods))

    def work(name: str) -> dict[str, Any]:
        try:
            return asdict(tune(setup.workspace.catalog.methods[name], setup, trials, say=say))
        except UserError as error:
            return {MISTAKE: str(error)}

    warm()
    works = {name: partial(work, name) for name in methods}
    with Processes() as processes:
        for name, ending in processes.each(works, workers, RESULT_BYTES):
            if ending.returned is None:
                yield name, ending.cause
            elif MISTAKE in ending.returned:
                raise UserError(ending.returned[MISTAKE])
            else:
                yield name, tuning_of(ending.returned)


def _try_next(study: Any, method: Method, setup: TrialSetup, done: Sequence[Trial]) -> Trial:
    """Chooses the next settings, tries them, and reports their gap to the study."""
    space = method.searched(setup.scenario)
    given = next_point(space, method.config, done)
    if given is not None:
        study.enqueue_trial(given, skip_if_exists=False)
    study.sampler = sampler(derive(FIRST_SEED, f"{method.name}/trial/{len(done)}"))
    asked = study.ask(distributions(space, method.config))
    trial = _judged(method, setup, dict(asked.params))
    asked.set_user_attr("trial", {"passes": trial.passes, "note": trial.note})
    study.tell(asked, WORST if trial.gap is None else trial.gap)
    return trial


def _judged(method: Method, setup: TrialSetup, settings: dict[str, Any]) -> Trial:
    """The trial of these settings; one that the method's config refuses has no gap."""
    try:
        return setup.judge(method, replace(method.config, **settings), settings)
    except (ValueError, TypeError) as error:
        return Trial(settings, None, 0.0, f"refused: {error}")


def _confirmed(method: Method, setup: TrialSetup, tuning: Tuning) -> tuple[Trial, ...]:
    """The defaults and the best few settings, judged on originals that no trial used."""
    fresh = setup.on_fresh_originals()
    return tuple(
        _judged(method, fresh, dict(each.settings)) for each in tuning.candidates(CONFIRMED)
    )


def _read(finished: Any) -> Trial:
    """The trial that ``_try_next`` reported to the study."""
    gap = None if finished.value == WORST else finished.value
    return Trial(dict(finished.params), gap, **finished.user_attrs["trial"])


def _study_id(method: Method, setup: TrialSetup) -> str:
    """A hash of everything that makes two trials comparable."""
    return identity(
        {
            "problem": setup.plan([]).steps[0].id.key,
            "forget": setup.scenario.forget,
            "access": setup.scenario.retain_access,
            "mia": setup.scenario.mia,
            "replicates": len(setup.replicates),
            "share": setup.workspace.share,
            "method": method.name,
            "config": method.config,
            "source": method_hash(method),
            "search": method.searched(setup.scenario),
            "procedure": PROCEDURE,
        }
    )
