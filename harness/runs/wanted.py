"""What a command asks for, and which scenarios, methods and steps that means."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
import sys
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from harness.errors import UserError, unknown
from harness.leaderboard.admission import BY_HAND
from harness.plugins.catalog import find
from harness.records.store import Store
from harness.records.tuned import FOLDER, Tuning, Unread, read
from harness.runs.environment import commit
from harness.runs.plan import Entrant, Plan, Problem, make_plan
from harness.runs.workspace import Workspace
from harness.specs.catalog import Catalog
from harness.specs.checks import LARGEST_FLOAT, LARGEST_INT
from harness.specs.configs import checked_config
from harness.specs.method import Method
from harness.specs.scenario import REFERENCES, Replicate, Scenario


@dataclass(frozen=True)
class Wanted:
    """What a command asks for, as plain values."""

    methods: tuple[str, ...] = ()
    """Empty: those of the suite, or all."""
    suite: str = ""
    scenarios: tuple[str, ...] = ()
    replicates: int = 0
    """0: as many as each scenario states."""
    seed: int = 0
    """The first replicate's."""
    backbone: str = ""
    dataset: str = ""
    settings: tuple[str, ...] = ()
    """``method.field=value``."""
    tuned: str = f"leaderboards/{FOLDER}"
    """The folder of tuned settings; empty: run with the methods' defaults."""
    plugins: tuple[str, ...] = ()
    device: str = "cpu"
    store: str = "runs"
    data: str = "data"


DEFAULT_SUITE = "digits"


def prepare(wanted: Wanted, catalog: Catalog) -> tuple[Workspace, Plan]:
    """The workspace and the plan of what is wanted.

    The data are read, on the CPU, and hashed. Nothing else is computed, and that by one thread: a
    process that is forked from one with OpenMP threads can hang.
    """
    torch.set_num_threads(1)
    problems = [
        Problem(scenario, replicates, entrants(wanted, catalog, scenario.name))
        for scenario, replicates in wanted_scenarios(wanted, catalog)
    ]
    device = torch.device(wanted.device)
    workspace = Workspace(Store(Path(wanted.store)), catalog, Path(wanted.data), device)
    for scenario, replicates, _ in problems:
        workspace.dataset(scenario.dataset).require_rows(scenario, replicates)
    datasets = {name: workspace.dataset(name) for name in {p.scenario.dataset for p in problems}}
    fingerprints = {name: dataset.fingerprint for name, dataset in datasets.items()}
    classes = {name: dataset.train.classes for name, dataset in datasets.items()}
    commit()  # of the code as it was loaded
    return workspace, make_plan(problems, catalog, fingerprints, classes)


def wanted_scenarios(wanted: Wanted, catalog: Catalog) -> list[tuple[Scenario, list[Replicate]]]:
    """The scenarios, with ``--backbone`` and ``--dataset`` applied, and their replicates."""
    if wanted.scenarios and wanted.suite:
        raise UserError("--suite and --scenario exclude each other; give one of them")
    names = wanted.scenarios
    if not names:
        suite = wanted.suite or DEFAULT_SUITE
        names = find("suite", suite, catalog.suites, catalog.failures).scenarios
    found = []
    for name in dict.fromkeys(names):
        if name in catalog.methods and name not in catalog.scenarios:
            raise UserError(f"--scenario {name}: a method; name methods first, as in `run {name}`")
        scenario = find("scenario", name, catalog.scenarios, catalog.failures)
        scenario = derived(scenario, backbone=wanted.backbone, dataset=wanted.dataset)
        count = wanted.replicates or scenario.replicates
        seeds = range(wanted.seed, wanted.seed + count)
        found.append((scenario, [Replicate(seed, seed) for seed in seeds]))
    return found


def derived(scenario: Scenario, *, backbone: str = "", dataset: str = "") -> Scenario:
    """The scenario with another backbone or data set, and with a name that says so."""
    backbone, dataset = backbone or scenario.backbone, dataset or scenario.dataset
    changed = [backbone] * (backbone != scenario.backbone)
    changed += [dataset] * (dataset != scenario.dataset)
    for value in changed:
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise UserError(
                f"{value!r} is not readable as text ({sys.getfilesystemencoding()}), so no record "
                f"could name it; give it a name in UTF-8, or set LC_ALL=C.UTF-8 where it has one"
            )
    name = "+".join([scenario.name, *map(_mark, changed)])
    return replace(scenario, name=name, backbone=backbone, dataset=dataset)


def _mark(value: str) -> str:
    """The value as a part of a name; with a hash where it had to be changed or cut."""
    mark = re.sub(r"[^A-Za-z0-9._]+", "-", value).strip("-.")[:30]
    if mark == value:
        return mark
    return f"{mark}-{hashlib.sha256(value.encode()).hexdigest()[:6]}"


def entrants(wanted: Wanted, catalog: Catalog, scenario: str) -> list[Entrant]:
    """The methods with the settings that they run with in a scenario.

    That is their defaults, or those tuned for it, and on top what ``--set`` says.
    """
    tuned = read(Path(wanted.tuned), scenario) if wanted.tuned else {}
    return [
        _entrant(wanted, method, tuned.get(method.name))
        for method in wanted_methods(wanted, catalog)
    ]


def _entrant(wanted: Wanted, method: Method, tuning: Tuning | Unread | None) -> Entrant:
    entrant = Entrant(method, method.config)
    if isinstance(tuning, Unread):
        raise UserError(
            f"{wanted.tuned}: the settings tuned for {method.name!r} cannot be read "
            f"({tuning.reason}); {_mend(method.name)}"
        )
    if tuning is not None and tuning.best is not None:
        try:
            config = tuning.apply(method.config)
        except (ValueError, TypeError) as error:
            raise UserError(
                f"the settings tuned for {method.name!r} no longer fit it ({error}); "
                f"{_mend(method.name)}"
            ) from None
        entrant = replace(entrant, config=config, tuning=tuning, tuning_passes=tuning.passes)
    for name, field, text in map(_parts, wanted.settings):
        if name == method.name:
            config = configured(name, entrant.config, field, text)
            entrant = replace(entrant, config=config, chosen=BY_HAND)
    try:
        return replace(entrant, config=checked_config(f"method {method.name!r}", entrant.config))
    except TypeError as error:  # a file of tuned settings may hold what no record can
        raise UserError(str(error)) from None


def _mend(method: str) -> str:
    return f"run `unlearn tune {method}` again, or `unlearn run --defaults`"


def wanted_methods(wanted: Wanted, catalog: Catalog) -> list[Method]:
    """The methods; the two references need no naming.

    Raises UserError for one that is unknown, and for a ``--set`` of one that is not among them.
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
        name = _parts(setting)[0]
        if name not in methods:
            raise UserError(f"--set {setting}: {unknown('method of this run', name, methods)}")
    return list(methods.values())


def _parts(setting: str) -> tuple[str, str, str]:
    found = re.fullmatch(r"([^=]+)\.([^.=]+)=(.*)", setting, re.DOTALL)
    if not found:
        raise UserError(
            f"--set {setting!r}: expected METHOD.FIELD=VALUE, as in some-method.lr=0.05"
        )
    return found[1], found[2], found[3]


def configured(method: str, config: Any, field: str, text: str) -> Any:
    """The config with one field set from its text, converted by the field's type.

    Raises UserError for an unknown field, a text that does not convert, and a value that the
    config itself refuses.
    """
    names = [f.name for f in dataclasses.fields(config)]
    if field not in names:
        raise UserError(f"--set {method}.{field}: {unknown('setting', field, names)}")
    try:
        value = _convert(text, typing.get_type_hints(type(config))[field])
        if value == getattr(config, field):  # 1.0 for 1 would be a run of another name
            return config
        return replace(config, **{field: value})
    except (ValueError, TypeError, NameError, AssertionError) as error:
        reason = textwrap.shorten(str(error), 200) or "its config refuses it"
        raise UserError(f"--set {method}.{field}={text}: {reason}") from None


def _convert(text: str, hint: Any) -> Any:
    if typing.get_origin(hint) is typing.Literal:
        return _one_of(text, typing.get_args(hint))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        if text.lower() == "none" and len(kinds) < len(typing.get_args(hint)):
            return None
        if len(kinds) == 1:
            return _convert(text, kinds[0])
    if hint is bool:
        return _one_of(text.lower(), ("true", "false")) == "true"
    if hint is str:
        text.encode()  # a record is UTF-8
        return text
    if hint in (int, float):
        return _number(text, hint)
    raise ValueError(f"a field of type {hint} cannot be set on the command line")


def _one_of(text: str, choices: Iterable[Any]) -> Any:
    by_text: Mapping[str, Any] = {str(choice): choice for choice in choices}
    if text not in by_text:
        raise ValueError(f"expected one of {', '.join(by_text)}; got {text!r}")
    return by_text[text]


def _number(text: str, hint: type[int] | type[float]) -> int | float:
    try:
        value = hint(text)
    except ValueError:
        kind = "a whole number" if hint is int else "a number"
        raise ValueError(f"expected {kind}; got {text!r}") from None
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number; got {text!r}")
    if abs(value) > (LARGEST_INT if hint is int else LARGEST_FLOAT):
        raise ValueError(f"no record holds a number as large as {text}")
    return value
