"""The house rules that can be checked automatically: imports, names and sizes."""

import ast
from pathlib import Path

import pytest

import harness
from harness.plugins.catalog import load_catalog

ROOT = Path(__file__).parents[1]

FLOORS = (
    {"errors", "seeds", "terminal", "version"},
    {"isolation", "specs"},
    {"attacks", "records", "training", "plugins"},
    {"backbones", "datasets", "leaderboard"},
    {"protocols", "scenarios"},
    {"runs", "api"},
    {"testing"},
    {"commands"},
    {"cli"},
)
"""The rooms and top-level files of the harness: imports go only to lower floors, listed first."""

INSIDE = {
    "adversarial": (  # amun_plugin's
        {"logits", "settings", "slots"},
        {"result", "twin"},
        {"closest", "folding", "ledger", "pgd"},
        {"preparation"},
        {"attack"},
    ),
    "attacks": (
        {"densities", "forgetting_quality", "klom", "reference_losses", "references", "signals"},
        {"lira", "population", "rmia", "ulira"},
    ),
    "backbones": ({"arguments", "cifar_resnet", "cifar_resnet18", "stems"}, {"build"}, {"trial"}),
    "commands": (
        {"machine", "options", "plugins", "progress", "tuning_notes"},
        {"doctor", "leaderboard", "list", "run", "show", "tune", "verbs"},
        {"measure", "parsing"},
    ),
    "datasets": ({"pictures", "vetting"}, {"splits", "trees"}, {"folders", "halves"}, {"builtin"}),
    "isolation": (
        {"containment", "forked", "replacements", "signals"},
        {"processes", "surroundings"},
    ),
    "leaderboard": (
        {"grouping", "markdown_table", "pools", "problem", "svg"},
        {"clusters"},
        {"gaps", "replacing", "selection", "summary"},
        {"joining", "ranks", "readings", "score_curves"},
        {"admission", "guessing", "measured"},
        {"rows"},
        {"stand_in"},
        {"table"},
        {"attacks", "cells"},
        {"membership_block", "ranks_by_attack", "replicates"},
        {"explanations", "score_panels", "tunings"},
        {"recomputed", "score_pictures"},
        {"published_block"},
        {"published_results"},
        {"pages"},
        {"publish"},
        {"frame"},
    ),
    "plugins": (
        {"holdings", "hookspecs", "modules", "syntax"},
        {"source_hash"},
        {"forget_rules"},
        {"catalog"},
    ),
    "protocols": (
        {"ensembles", "estimates", "pooled"},
        {"score_summaries"},
        {
            "accuracy",
            "affected_class",
            "attack_r",
            "confidence_mia",
            "entropy_mia",
            "forgetting_quality",
            "klom",
            "lira",
            "loss_mia",
            "rmia",
            "u_lira",
        },
    ),
    "records": (
        {"csv_rows", "lines", "literature", "store"},
        {"published", "tuned", "versions"},
        {"json_lines"},
        {"store_lines"},
    ),
    "runs": (
        {"environment", "keys", "points", "product", "settings", "studies", "warm"},
        {"audit", "models"},
        {"plan"},
        {"lineage", "method_call", "queue", "workspace"},
        {"evidence", "measuring", "recording", "remaining", "wanted"},
        {"steps"},
        {"worker"},
        {"pool"},
        {"trials"},
        {"tuning"},
    ),
    "specs": (
        {"checks", "names"},
        {"pool_size", "row_numbers", "shares"},
        {"augmentation", "evidence", "forgetting", "published", "score_summary", "search"},
        {"configs", "data", "protocol", "recorded_rule"},
        {"scenario"},
        {"part"},
        {"method", "named_recipe"},
        {"catalog", "fine_tuning"},
    ),
    "testing": ({"watch"}, {"contract"}),
    "training": ({"flops", "loop"},),
}
"""The floors of the files inside each room."""

HARNESS = sorted(path for path in (ROOT / "harness").rglob("*.py") if path.name != "__init__.py")
OURS = [*HARNESS, *(ROOT / "amun_plugin").rglob("*.py"), *(ROOT / "baselines").rglob("*.py")]
BASELINES = sorted((ROOT / "baselines").rglob("*.py"))
ADVERSARIAL = sorted((ROOT / "amun_plugin" / "adversarial").glob("[!_]*.py"))
ROOMS = sorted(path.parent for path in (ROOT / "harness").glob("*/__init__.py"))


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(path):
    """Every module that a file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_file = (ROOT / Path(*full.split("."))).with_suffix(".py").is_file()
                yield full if is_file or node.module == "harness" else node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def floor_of(name, floors):
    found = [number for number, names in enumerate(floors) if name in names]

    assert len(found) == 1, f"{name} must be on exactly one floor; found on {found}"
    return found[0]


@pytest.mark.parametrize("path", HARNESS, ids=module_of)
def test_imports_of_the_harness_only_go_down_between_rooms_and_inside_them(path):
    _, room, *file = module_of(path).split(".")

    for name in imported(path):
        if name.startswith("harness."):
            _, other, *its_file = name.split(".")
            if other == room:
                inside = INSIDE[room]
                assert floor_of(its_file[0], inside) < floor_of(file[0], inside), name
            else:
                assert floor_of(other, FLOORS) < floor_of(room, FLOORS), name
        assert not name.startswith(("amun_plugin", "baselines"))


@pytest.mark.parametrize("path", ADVERSARIAL, ids=module_of)
def test_imports_of_the_adversarial_folder_only_go_down_and_stay_inside_it(path):
    inside = INSIDE["adversarial"]

    for name in imported(path):
        assert not name.startswith(("harness", "baselines"))
        if name.startswith("amun_plugin"):
            _, room, file = name.split(".")
            assert room == "adversarial"
            assert floor_of(file, inside) < floor_of(path.stem, inside), name


@pytest.mark.parametrize("room", [*ROOMS, ADVERSARIAL[0].parent], ids=lambda room: room.name)
def test_every_file_of_a_room_is_on_a_floor_and_every_file_on_a_floor_exists(room):
    files = {path.stem for path in room.glob("*.py")} - {"__init__"}

    assert files == set().union(*INSIDE[room.name])
    assert not [path for path in room.iterdir() if path.is_dir() and path.name != "__pycache__"]


@pytest.mark.parametrize("room", [*ROOMS, ADVERSARIAL[0].parent], ids=lambda room: room.name)
def test_the_init_file_of_a_room_is_one_docstring_line(room):
    text = (room / "__init__.py").read_text()

    assert text.startswith('"""')
    assert len(text.splitlines()) == 1 or room.name == "testing"  # it is part of the public API


@pytest.mark.parametrize("path", sorted({*OURS} - {*HARNESS}), ids=lambda path: path.stem)
def test_our_plugins_use_only_the_public_api(path):
    for name in imported(path):
        package, _, rest = name.partition(".")
        if package == "harness":
            assert rest in harness.__all__, name
        if path.is_relative_to(ROOT / "baselines"):
            assert package != "amun_plugin"


@pytest.mark.parametrize("path", BASELINES, ids=module_of)
def test_baselines_import_each_other_only_through_parts(path):
    for name in imported(path):
        assert not name.startswith("baselines.") or name.startswith("baselines.parts"), name


def test_the_harness_names_no_method_except_the_two_references():
    methods = load_catalog().methods

    for path in HARNESS:
        words = {
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not words & {*methods}, path


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_a_file_starts_with_its_purpose_and_is_short(path):
    text = path.read_text()

    assert text.startswith('"""')
    assert text.partition("\n")[0].rstrip('"').endswith((".", ":", ","))
    assert len(text.splitlines()) <= 300


def test_every_public_name_exists():
    for name in harness.__all__:
        assert hasattr(harness, name)
