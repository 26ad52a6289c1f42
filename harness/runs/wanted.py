"""Turns the arguments of a command into scenarios, methods and a plan."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from harness.datasets.halves import audit_rows, require_replays
from harness.errors import UserError, unknown
from harness.plugins.catalog import find
from harness.records.lines import BY_HAND
from harness.records.store import Store
from harness.records.tuned import FOLDER, Tuning, Unread, read
from harness.runs.audit import Audit, audit_of
from harness.runs.environment import commit
from harness.runs.plan import Entrant, Plan, Problem, make_plan, tuning_home
from harness.runs.settings import Assignment, all_configured
from harness.runs.workspace import Workspace
from harness.specs.catalog import Catalog
from harness.specs.configs import checked_config
from harness.specs.fine_tuning import Training
from harness.specs.method import Method
from harness.specs.named_recipe import NamedRecipe
from harness.specs.protocol import POOL, REPLAYS
from harness.specs.scenario import REFERENCES, Replicate, Scenario


@dataclass(frozen=True)
class Wanted:
    """The arguments of ``run`` and ``tune``, as plain values."""

    methods: tuple[str, ...] = ()
    """If empty: the suite's methods, or all."""
    suite: str = ""
    scenarios: tuple[str, ...] = ()
    replicates: int = 0
    """If 0: the number that each scenario gives."""
    seed: int | None = None
    """The seed of the first replicate; if None: 0, or the scenario's crossed seeds."""
    backbone: str = ""
    dataset: str = ""
    recipe: str = ""
    """The name of the recipe that takes the place of the scenarios' own."""
    protocols: tuple[str, ...] = ()
    """The only protocols to measure; if empty: the scenario's own, with those of the suite."""
    pool: int = 0
    """The number of reference models; if 0: the scenario's."""
    settings: tuple[str, ...] = ()
    """Each as ``METHOD.FIELD=VALUE``."""
    tuned: str = f"leaderboards/{FOLDER}"
    """The folder of tuned settings; if empty, methods run at their defaults."""
    plugins: tuple[str, ...] = ()
    device: str = "cpu"
    store: str = "runs"
    data: str = "data"


DEFAULT_SUITE = "digits"


def prepare(wanted: Wanted, catalog: Catalog) -> tuple[Workspace, Plan]:
    """The workspace, and the plan of everything that the command asks for.

    Reads and hashes the data on the CPU, and computes nothing else. It uses a single thread: a
    process forked from one with OpenMP threads can hang.
    """
    torch.set_num_threads(1)
    problems = [
        Problem(
            scenario,
            replicates,
            entrants(wanted, catalog, scenario),
            _audit(wanted, catalog, scenario),
        )
        for scenario, replicates in wanted_scenarios(wanted, catalog)
    ]
    homes = [tuning_home(problem.scenario, catalog) for problem in problems]
    device = torch.device(wanted.device)
    workspace = Workspace(Store(Path(wanted.store)), catalog, Path(wanted.data), device)
    for scenario, replicates, _, audit in problems:
        dataset = workspace.dataset(scenario.dataset)
        dataset.require_rows(scenario, replicates)
        needs = {need for protocol in audit.protocols for need in protocol.needs}
        if POOL in needs:
            audit_rows(scenario, workspace.labels(scenario.dataset))
        if REPLAYS in needs:
            require_replays(scenario, workspace.labels(scenario.dataset), audit.pool)
    names = {p.scenario.dataset for p in problems} | {home.dataset for home in homes}
    datasets = {name: workspace.dataset(name) for name in names}
    fingerprints = {name: dataset.fingerprint for name, dataset in datasets.items()}
    classes = {name: dataset.train.classes for name, dataset in datasets.items()}
    commit()  # cached now, while it is that of the code that was loaded
    return workspace, make_plan(problems, catalog, fingerprints, classes)


def _audit(wanted: Wanted, catalog: Catalog, scenario: Scenario) -> Audit:
    suite = None if wanted.scenarios else catalog.suites.get(wanted.suite or DEFAULT_SUITE)
    added = suite.protocols if suite else ()
    return audit_of(scenario, catalog, only=wanted.protocols, added=added, pool=wanted.pool)


def wanted_scenarios(wanted: Wanted, catalog: Catalog) -> list[tuple[Scenario, list[Replicate]]]:
    """The scenarios with their replicates, after ``--backbone``, ``--dataset`` and ``--recipe``."""
    if wanted.scenarios and wanted.suite:
        raise UserError("--suite and --scenario exclude each other; give one of them")
    names = wanted.scenarios
    if not names:
        suite = wanted.suite or DEFAULT_SUITE
        names = find("suite", suite, catalog.suites, catalog.failures).scenarios
    recipe = None
    if wanted.recipe:
        recipe = find("recipe", wanted.recipe, catalog.recipes, catalog.failures)
    found = []
    for name in dict.fromkeys(names):
        if name in catalog.methods and name not in catalog.scenarios:
            raise UserError(f"--scenario {name}: a method; name methods first, as in `run {name}`")
        scenario = find("scenario", name, catalog.scenarios, catalog.failures)
        scenario = derived(
            scenario, backbone=wanted.backbone, dataset=wanted.dataset, recipe=recipe
        )
        found.append((scenario, _replicates(wanted, scenario)))
    return found


def _replicates(wanted: Wanted, scenario: Scenario) -> list[Replicate]:
    """Independent replicates from the first seed on, or the pairs of a scenario's crossed seeds."""
    count = wanted.replicates or scenario.replicates
    if not scenario.crossed:
        first = wanted.seed or 0
        return [Replicate(seed, seed) for seed in range(first, first + count)]
    pairs = crossed_pairs(scenario.crossed)
    seeds = ", ".join(map(str, scenario.crossed))
    if wanted.seed is not None:
        raise UserError(
            f"--seed {wanted.seed}: scenario {scenario.name!r} crosses the seeds {seeds}; leave "
            f"--seed out, or take fewer of its {len(pairs)} pairs with --replicates"
        )
    if count > len(pairs):
        raise UserError(
            f"--replicates {count}: scenario {scenario.name!r} crosses the seeds {seeds}, which "
            f"gives {len(pairs)} replicates; expected at most {len(pairs)}"
        )
    return pairs[:count]


def crossed_pairs(seeds: Sequence[int]) -> list[Replicate]:
    """Every pair of a model's and a forget set's seed.

    The order is by diagonals: the first ``len(seeds)`` pairs share nothing and are independent, and
    any next as many contain every model and every forget set once.
    """
    n = len(seeds)
    return [Replicate(seeds[i], seeds[(i + shift) % n]) for shift in range(n) for i in range(n)]


def derived(
    scenario: Scenario, *, backbone: str = "", dataset: str = "", recipe: NamedRecipe | None = None
) -> Scenario:
    """The scenario with another backbone, data set or recipe, which its name then mentions.

    It has tuned settings of its own, even if the scenario uses those of another.
    """
    backbone = backbone or scenario.backbone
    dataset = dataset or scenario.dataset
    pairs = ((backbone, scenario.backbone), (dataset, scenario.dataset))
    changed = [value for value, own in pairs if value != own]
    training = recipe.recipe if recipe else scenario.recipe
    if recipe and training != scenario.recipe:
        changed.append(recipe.name)
    for value in changed:
        _require_text(value)
    name = "+".join([scenario.name, *map(_name_part, changed)])
    return replace(
        scenario,
        name=name,
        backbone=backbone,
        dataset=dataset,
        recipe=training,
        tuned_as="" if changed else scenario.tuned_as,
    )


def _require_text(value: str) -> None:
    """Raises UserError for a word whose bytes could not be decoded; no record could contain it."""
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise UserError(
            f"{value!r} is not readable as text ({sys.getfilesystemencoding()}), so no record "
            f"could name it; rename it in UTF-8, or set LC_ALL=C.UTF-8 if its name is UTF-8"
        )


def _name_part(value: str) -> str:
    """The value as part of a scenario's name; a hash is added if characters had to go."""
    mark = re.sub(r"[^A-Za-z0-9._]+", "-", value).strip("-.")[:30]
    if mark == value:
        return mark
    return f"{mark}-{hashlib.sha256(value.encode()).hexdigest()[:6]}"


def entrants(wanted: Wanted, catalog: Catalog, scenario: Scenario) -> list[Entrant]:
    """The methods with their settings in a scenario.

    These are the defaults, or the settings tuned for it or for its ``tuned_as``; ``--set`` then
    overrides single ones.
    """
    home = tuning_home(scenario, catalog).name
    tuned = read(Path(wanted.tuned), home) if wanted.tuned else {}
    found = [
        _entrant(wanted, method, tuned.get(method.name))
        for method in wanted_methods(wanted, catalog)
    ]
    for entrant in found:
        _require_fit(entrant, scenario)
    return found


def _require_fit(entrant: Entrant, scenario: Scenario) -> None:
    """Raises UserError, before anything is trained, if settings by hand do not fit the recipe."""
    if entrant.chosen == BY_HAND and isinstance(entrant.config, Training):
        try:
            entrant.config.require_fit(scenario)
        except UserError as error:
            raise UserError(f"--set of {entrant.method.name!r}: {error}") from None


def _entrant(wanted: Wanted, method: Method, tuning: Tuning | Unread | None) -> Entrant:
    entrant = Entrant(method, method.config)
    if isinstance(tuning, Unread):
        raise UserError(
            f"{wanted.tuned}: the settings tuned for {method.name!r} cannot be read "
            f"({tuning.reason}); {_how_to_repair(method.name)}"
        )
    if tuning is not None and tuning.best is not None:
        try:
            config = tuning.apply(method.config)
        except (ValueError, TypeError) as error:
            raise UserError(
                f"the settings tuned for {method.name!r} no longer fit it ({error}); "
                f"{_how_to_repair(method.name)}"
            ) from None
        entrant = replace(entrant, config=config, tuning=tuning, tuning_passes=tuning.passes)
    asked = [Assignment.parse(words) for words in wanted.settings]
    if own := [each for each in asked if each.method == method.name]:
        config = all_configured(entrant.config, own)
        entrant = replace(entrant, config=config, chosen=BY_HAND)
    try:
        return replace(entrant, config=checked_config(f"method {method.name!r}", entrant.config))
    except TypeError as error:  # a file of tuned settings may contain a value that no record can
        raise UserError(str(error)) from None


def _how_to_repair(method: str) -> str:
    return f"run `unlearn tune {method}` again, or `unlearn run --defaults`"


def wanted_methods(wanted: Wanted, catalog: Catalog) -> list[Method]:
    """The methods to run; the two references always run and are not among them.

    Raises UserError for an unknown method, and for a ``--set`` of a method that does not run.
    """
    names = [name for name in wanted.methods if name not in REFERENCES]
    if not wanted.methods:
        suite = None if wanted.scenarios else wanted.suite or DEFAULT_SUITE
        names = list(catalog.suites[suite].methods) if suite else []
        names = names or sorted(catalog.methods)
    methods = {
        name: find("method", name, catalog.methods, catalog.failures)
        for name in dict.fromkeys(names)
    }
    for setting in wanted.settings:
        name = Assignment.parse(setting).method
        if name not in methods:
            raise UserError(f"--set {setting}: {unknown('method of this run', name, methods)}")
    return list(methods.values())
