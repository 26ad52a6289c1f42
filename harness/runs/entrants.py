"""What a command asks for, as plain values, and what that means with the plugins installed."""

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

from harness.errors import UserError, unknown
from harness.leaderboard.admission import BY_HAND
from harness.plugins.catalog import find
from harness.records.tuned import FOLDER, Tuning, Unread, read
from harness.runs.plan import Entrant
from harness.specs.catalog import Catalog
from harness.specs.checks import LARGEST_FLOAT, LARGEST_INT
from harness.specs.configs import checked_config
from harness.specs.method import Method
from harness.specs.scenario import REFERENCES, Replicate, Scenario


@dataclass(frozen=True)
class Request:
    """The words of ``unlearn run``, as plain values."""

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


def wanted_scenarios(request: Request, catalog: Catalog) -> list[tuple[Scenario, list[Replicate]]]:
    """The scenarios, with ``--backbone`` and ``--dataset`` applied, and their replicates."""
    if request.scenarios and request.suite:
        raise UserError("--suite and --scenario exclude each other; give one of them")
    names = request.scenarios
    if not names:
        suite = request.suite or DEFAULT_SUITE
        names = find("suite", suite, catalog.suites, catalog.failures).scenarios
    wanted = []
    for name in dict.fromkeys(names):
        if name in catalog.methods and name not in catalog.scenarios:
            raise UserError(f"--scenario {name}: a method; name methods first, as in `run {name}`")
        scenario = find("scenario", name, catalog.scenarios, catalog.failures)
        scenario = derived(scenario, backbone=request.backbone, dataset=request.dataset)
        count = request.replicates or scenario.replicates
        seeds = range(request.seed, request.seed + count)
        wanted.append((scenario, [Replicate(seed, seed) for seed in seeds]))
    return wanted


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


def entrants(request: Request, catalog: Catalog, scenario: str) -> list[Entrant]:
    """The methods with the settings that they run with in a scenario.

    That is their defaults, or those tuned for it, and on top what ``--set`` says.
    """
    tuned = read(Path(request.tuned), scenario) if request.tuned else {}
    return [
        _entrant(request, method, tuned.get(method.name))
        for method in wanted_methods(request, catalog)
    ]


def _entrant(request: Request, method: Method, tuning: Tuning | Unread | None) -> Entrant:
    entrant = Entrant(method, method.config)
    if isinstance(tuning, Unread):
        raise UserError(
            f"{request.tuned}: the settings tuned for {method.name!r} cannot be read "
            f"({tuning.reason}); {_mend(method.name)}"
        )
    if tuning is not None and tuning.best is not None:
        try:
            config = tuning.apply(method.config)
        except (ValueError, TypeError) as error:
            raise UserError(
                f"the settings tuned for {method.name!r} do not fit it any more ({error}); "
                f"{_mend(method.name)}"
            ) from None
        entrant = replace(entrant, config=config, tuning=tuning, tuning_passes=tuning.passes)
    for name, field, text in map(_parts, request.settings):
        if name == method.name:
            config = configured(name, entrant.config, field, text)
            entrant = replace(entrant, config=config, chosen=BY_HAND)
    try:
        return replace(entrant, config=checked_config(f"method {method.name!r}", entrant.config))
    except TypeError as error:  # a file of tuned settings may hold what no record can
        raise UserError(str(error)) from None


def _mend(method: str) -> str:
    return f"run `unlearn tune {method}` again, or `unlearn run --defaults`"


def wanted_methods(request: Request, catalog: Catalog) -> list[Method]:
    """The methods; the two references need no naming.

    Raises UserError for one that is unknown, and for a ``--set`` of one that is not among them.
    """
    names = [name for name in request.methods if name not in REFERENCES]
    if not request.methods:
        suite = None if request.scenarios else request.suite or DEFAULT_SUITE
        names = list(catalog.suites[suite].methods) if suite else []
        names = names or sorted(catalog.methods)
    methods = {
        name: find("method", name, catalog.methods, catalog.failures)
        for name in dict.fromkeys(names)
    }
    for setting in request.settings:
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
        wanted = typing.get_type_hints(type(config))[field]
        value = _convert(text, wanted)
        if value == getattr(config, field):  # 1.0 for 1 would be a run of another name
            return config
        return replace(config, **{field: value})
    except (ValueError, TypeError, NameError, AssertionError) as error:
        reason = textwrap.shorten(str(error), 200) or "its config refuses it"
        raise UserError(f"--set {method}.{field}={text}: {reason}") from None


def _convert(text: str, wanted: Any) -> Any:
    if typing.get_origin(wanted) is typing.Literal:
        return _one_of(text, typing.get_args(wanted))
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(wanted) if kind is not type(None)]
        if text.lower() == "none" and len(kinds) < len(typing.get_args(wanted)):
            return None
        if len(kinds) == 1:
            return _convert(text, kinds[0])
    if wanted is bool:
        return _one_of(text.lower(), ("true", "false")) == "true"
    if wanted is str:
        text.encode()  # a record is UTF-8
        return text
    if wanted in (int, float):
        return _number(text, wanted)
    raise ValueError(f"a field of type {wanted} cannot be set on the command line")


def _one_of(text: str, choices: Iterable[Any]) -> Any:
    by_text: Mapping[str, Any] = {str(choice): choice for choice in choices}
    if text not in by_text:
        raise ValueError(f"expected one of {', '.join(by_text)}; got {text!r}")
    return by_text[text]


def _number(text: str, wanted: type[int] | type[float]) -> int | float:
    try:
        value = wanted(text)
    except ValueError:
        kind = "a whole number" if wanted is int else "a number"
        raise ValueError(f"expected {kind}; got {text!r}") from None
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number; got {text!r}")
    if abs(value) > (LARGEST_INT if wanted is int else LARGEST_FLOAT):
        raise ValueError(f"no record holds a number as large as {text}")
    return value
