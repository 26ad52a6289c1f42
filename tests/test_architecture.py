"""The house rules that a machine can hold: imports, names, sizes."""

import ast
from pathlib import Path

import pytest

import harness
from harness.plugins import load_catalog

ROOT = Path(__file__).parents[1]

LAYERS = (
    {"version", "errors", "terminal", "names", "shapes", "checks", "seeds", "isolation", "forked"},
    {"syntax", "plugin_modules", "holdings", "replacements", "surroundings", "family"},
    {"evidence", "forgetting", "circumstances", "data", "search", "pictures"},
    {"configs", "vetting", "trees"},
    {"specs", "passes", "provenance"},
    {"hookspecs", "records"},
    {"training", "statistics", "splits", "folders", "settings", "sources", "stems", "rows"},
    {
        "api",
        "ranks",
        "selection",
        "backbones",
        "datasets",
        "scenarios",
        "protocols",
        "tuned",
        "studies",
        "commission",
    },
    {"entries", "table", "networks"},
    {"standings", "cells"},
    {"reading"},
    {"leaderboard", "plugins"},
    {"store", "models", "plan"},
    {"lineage", "versions", "schedule"},
    {"lines", "joining", "recording"},
    {"request", "bench", "archive", "choices"},
    {"worker"},
    {"scheduler", "progress", "staleness"},
    {"runner", "tuning"},
    {"commands.options"},
    {"commands.run", "commands.listing", "commands.leaderboard", "commands.show"},
    {"commands.measure", "commands.doctor", "commands.tune"},
    {"commands.verbs", "testing"},
    {"cli"},
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}

HARNESS = sorted(path for path in (ROOT / "harness").rglob("*.py") if path.name != "__init__.py")
OURS = [*HARNESS, *(ROOT / "amun_plugin").rglob("*.py"), *(ROOT / "baselines").glob("*.py")]


def module_of(path):
    name = ".".join(path.relative_to(ROOT / "harness").with_suffix("").parts)
    return "protocols" if name.startswith("protocols.") else name


def imported(path):
    """Every module that a file imports from this repository, whatever the place in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            package = node.module or ""
            if package in ("harness", "harness.commands"):
                yield from (f"{package}.{alias.name}" for alias in node.names)
            else:
                yield package
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", HARNESS, ids=module_of)
def test_a_module_of_the_harness_imports_only_from_lower_layers(path):
    own = module_of(path)

    for name in imported(path):
        if name.startswith("harness."):
            other = module_of(ROOT / "harness" / (name.removeprefix("harness.") + ".py"))
            other = name.removeprefix("harness.") if other not in LAYER else other
            if not other.startswith("protocols"):
                assert LAYER[other] < LAYER[own], f"{own} imports {other}"
        assert not name.startswith(("amun_plugin", "baselines"))


@pytest.mark.parametrize("path", sorted({*OURS} - {*HARNESS}), ids=lambda path: path.stem)
def test_a_plugin_of_ours_uses_the_public_door_like_a_strangers(path):
    for name in imported(path):
        package, _, rest = name.partition(".")
        if package == "harness":
            assert rest in harness.__all__, name
        if path.parent.name == "baselines":
            assert package != "amun_plugin"


def test_the_harness_names_no_method_but_its_two_references():
    methods = load_catalog().methods

    for path in HARNESS:
        words = {
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not words & {*methods}, path


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_a_file_says_its_job_in_its_first_line_and_stays_small(path):
    text = path.read_text()

    assert text.startswith('"""')
    assert text.partition("\n")[0].rstrip('"').endswith((".", ":", ","))
    assert len(text.splitlines()) <= 300


def test_every_public_name_is_there():
    for name in harness.__all__:
        assert hasattr(harness, name)
