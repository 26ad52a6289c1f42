"""Builds the catalog from plugins; a plugin that fails is reported and does not affect others."""

from __future__ import annotations

import difflib
import importlib.metadata
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

import pluggy

from harness.errors import UnknownNameError, UserError, unknown
from harness.isolation.replacements import Everyones
from harness.isolation.surroundings import undisturbed
from harness.plugins import hookspecs
from harness.plugins.forget_rules import with_source
from harness.plugins.hookspecs import PROJECT
from harness.plugins.modules import begin, load_file, load_named
from harness.plugins.source_hash import backbone_source, method_hash
from harness.specs.catalog import Backbone, Catalog, Dataset, Spec
from harness.specs.method import Method
from harness.specs.named_recipe import NamedRecipe
from harness.specs.protocol import Protocol
from harness.specs.published import Published
from harness.specs.scenario import REFERENCES, Scenario, Suite

T = TypeVar("T")

KIND: Mapping[type[Any], str] = {
    Method: "method",
    Backbone: "backbone",
    Dataset: "dataset",
    Protocol: "protocol",
    Scenario: "scenario",
    Suite: "suite",
    Published: "publication",
    NamedRecipe: "recipe",
}

RETURNS: Mapping[str, tuple[type[Any], ...]] = {
    "unlearning_methods": (Method,),
    "unlearning_backbones": (Backbone,),
    "unlearning_datasets": (Dataset,),
    "unlearning_protocols": (Protocol,),
    "unlearning_published": (Published,),
    "unlearning_scenarios": (Scenario, Suite, NamedRecipe),
}
"""Hook → the classes of spec that it may return."""


A_FOLDER = "it is a folder; expected a .py file or a module"


class PluginError(Exception):
    """The reason why one plugin is left out."""


def load_catalog(extra: Iterable[str] = ()) -> Catalog:
    """Every spec that the installed plugins and the plugins of ``-p`` provide.

    An installed plugin that fails is left out and listed in ``failures``. Raises UserError if a
    plugin of ``extra`` (the name of a module or the path of a ``.py`` file) fails, or if two specs
    have the same name.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    specs: dict[tuple[str, str], Spec] = {}
    origin: dict[tuple[str, str], str] = {("method", name): "harness" for name in REFERENCES}
    failures: dict[str, str] = {}
    given = list(dict.fromkeys(extra))
    begin(Path(each) for each in given if each.endswith(".py"))
    shared = Everyones()
    for name, load, required in _sources(given):
        try:
            added = _read_plugin(manager, name, load, shared)
        except PluginError as error:
            if required:
                raise UserError(f"plugin {name!r}: {error}") from None
            failures[name] = str(error)
            continue
        for spec in added:
            _add(spec, name, specs, origin)
    _check_pages(origin)
    return Catalog(
        **{f"{kind}s": _named(specs, kind) for kind in KIND.values()},
        origin=origin,
        failures=failures,
    )


def find(kind: str, name: str, catalog: Mapping[str, T], failures: Mapping[str, str]) -> T:
    """The spec with this name.

    If there is none, raises UserError with the closest names and the plugins that were left out.
    """
    if name in catalog:
        return catalog[name]
    error = unknown(kind, name, catalog)
    if failures:
        left_out = "; ".join(f"{plugin}: {reason}" for plugin, reason in failures.items())
        raise UserError(f"{error} (left out: {left_out})")
    raise error


def unprovided(
    kind: Literal["backbone", "dataset"], name: str, catalog: Catalog, error: UnknownNameError
) -> UserError:
    """The error for a name that no plugin provides; it names the scenario that asks for it.

    If no scenario of the catalog does, the user gave the name, and ``error`` itself is returned.
    """
    asking = [each.name for each in catalog.scenarios.values() if getattr(each, kind) == name]
    if not asking:
        return error
    hint = str(error).partition("; ")[2]
    return UserError(
        f"scenario {asking[0]!r} names {kind} {name!r}, which no plugin provides; add its file "
        f"with -p ({hint})"
    )


def _sources(extra: Iterable[str]) -> Iterable[tuple[str, Callable[[], object], bool]]:
    for point in sorted(
        importlib.metadata.entry_points(group=PROJECT), key=lambda p: (_distribution(p), p.name)
    ):
        yield f"{_distribution(point)}:{point.name}", point.load, False
    for given in extra:
        yield given, lambda given=given: _import(given), True  # type: ignore[misc]


def _distribution(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"


def _import(given: str) -> ModuleType:
    """The module of a plugin of ``-p``; raises PluginError if it names no file and no module."""
    path = Path(given)
    if path.suffix == ".py":
        if not path.is_file():
            raise PluginError(_no_such_file(path))
        return load_file(path)
    is_folder = path.is_dir() and not (path / "__init__.py").is_file()
    if is_folder and given != path.name:
        raise PluginError(A_FOLDER)
    module = load_named(given)
    if is_folder and getattr(module, "__file__", None) is None:
        raise PluginError(A_FOLDER)
    return module


def _no_such_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f"no such file; there is no folder {str(path.parent)!r} either"
    beside = [each.name for each in sorted(path.parent.glob("*.py"))]
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.5)
    if near:
        return f"no such file; did you mean {str(path.with_name(near[0]))!r}?"
    return f"no such file: {path.absolute()}"


def _read_plugin(
    manager: pluggy.PluginManager, name: str, load: Callable[[], object], shared: Everyones
) -> list[Spec]:
    """The specs of a plugin, without any lasting effect on the process."""
    try:
        with undisturbed():
            plugin = load()
    except (PluginError, KeyboardInterrupt):
        raise
    except BaseException as error:
        shared.put_back()
        raise PluginError(f"its import failed: {_brief(error)}") from error
    _check_replaced(shared, "its import")
    try:
        with undisturbed():
            return _specs(manager, name, plugin)
    except (PluginError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a plugin's objects can raise anything when inspected
        raise PluginError(_brief(error)) from error
    finally:
        _check_replaced(shared, "one of its hooks")


def _check_replaced(shared: Everyones, by: str) -> None:
    replaced = shared.put_back()
    if replaced:
        raise PluginError(
            f"{by} replaced {replaced}, which would change every method; "
            f"replace it inside the method"
        )


def _specs(manager: pluggy.PluginManager, name: str, plugin: object) -> list[Spec]:
    if manager.is_registered(plugin):  # both installed and given by -p
        return []
    _check_hooks(plugin)
    manager.register(plugin, name)
    callers = manager.get_hookcallers(plugin) or []
    given = [spec for caller in callers for spec in _call(manager, caller.name, plugin)]
    specs = [
        replace(spec, forget=with_source(spec.forget)) if isinstance(spec, Scenario) else spec
        for spec in given
    ]
    for spec in specs:
        if isinstance(spec, Method):  # raises UserError if it cannot be hashed
            method_hash(spec)
        elif isinstance(spec, Backbone):
            backbone_source(spec.build)
    return specs


def _check_hooks(plugin: object) -> None:
    """Checks the name and arguments of every hook; pluggy itself ignores a misspelt one."""
    marked = {
        name: member
        for name, member in inspect.getmembers(plugin)
        if isinstance(getattr(member, f"{PROJECT}_impl", None), Mapping)
    }
    if not marked:
        raise PluginError(
            f"it has no hook; expected a function marked with @hookimpl and named one of "
            f"{', '.join(RETURNS)}"
        )
    for name, function in marked.items():
        if name not in RETURNS:
            raise PluginError(str(unknown("hook", name, RETURNS)))
        if inspect.signature(function).parameters:
            raise PluginError(
                f"hook {name}{inspect.signature(function)} takes arguments; expected {name}()"
            )


def _call(manager: pluggy.PluginManager, hook: str, plugin: object) -> list[Spec]:
    caller = getattr(manager.hook, hook)
    found: list[Spec] = []
    for impl in caller.get_hookimpls():
        if impl.plugin is not plugin:
            continue
        try:
            given = impl.function()
            specs = None if given is None else list(given)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise PluginError(f"{hook}() failed: {_brief(error)}") from error
        wanted = " or ".join(kind.__name__ for kind in RETURNS[hook])
        if specs is None:
            raise PluginError(f"{hook}() returned None; expected a list of {wanted}")
        for spec in specs:
            if not isinstance(spec, RETURNS[hook]):
                shown = textwrap.shorten(repr(spec), 100)
                raise PluginError(f"{hook}() returned {shown}; expected {wanted}")
        found += specs
    return found


def _add(
    spec: Spec, plugin: str, specs: dict[tuple[str, str], Spec], origin: dict[tuple[str, str], str]
) -> None:
    kind = next(kind for cls, kind in KIND.items() if isinstance(spec, cls))
    key = kind, spec.name
    if key in origin:
        raise UserError(
            f"two plugins provide a {kind} named {spec.name!r}: {origin[key]} and {plugin}; "
            f"rename one of them, or uninstall one of the plugins"
        )
    specs[key] = spec
    origin[key] = plugin


def _check_pages(origin: Mapping[tuple[str, str], str]) -> None:
    pages: dict[str, tuple[str, str]] = {"readme": ("page", "README")}
    for kind, name in origin:
        if kind in ("method", "scenario"):
            other = pages.setdefault(name.lower(), (kind, name))
            if other != (kind, name):
                raise UserError(
                    f"{kind} {name!r} of {origin[kind, name]} and {other[0]} {other[1]!r} of "
                    f"{origin.get(other, 'harness')} would share one page; rename one"
                )


def _named(specs: Mapping[tuple[str, str], Spec], kind: str) -> dict[str, Any]:
    return {spec.name: spec for (of, _), spec in specs.items() if of == kind}


def _brief(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"
