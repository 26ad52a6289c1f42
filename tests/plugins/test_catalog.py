"""Loading plugins: each independently of the others, each failure with its reason."""

import inspect
import os
import sys
from functools import partial

import pytest

from harness import UserError
from harness.plugins import hookspecs
from harness.plugins.catalog import RETURNS, find, load_catalog
from harness.plugins.hookspecs import PROJECT
from harness.plugins.source_hash import source_hash

METHOD = """
from dataclasses import dataclass
from harness import Method, hookimpl

@dataclass(frozen=True)
class Config:
    lr: float = 0.1

def unlearn(task, config):
    return task.model

@hookimpl
def unlearning_methods():
    return [Method({name!r}, unlearn, Config())]
"""


def install(site, distribution, module, text, point="plugin"):
    """Installs a distribution with one entry point, as pip would."""
    (site / f"{module}.py").write_text(text)
    info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{PROJECT}]\n{point} = {module}\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_our_own_features_are_plugins_too():
    catalog = load_catalog()

    assert {"finetune", "amun", "salun", "retrain-short"} <= {*catalog.methods}
    assert {"digits", "noisy-digits", "CIFAR10"} <= {*catalog.datasets}
    assert {"accuracy", "loss-mia", "confidence-mia"} <= {*catalog.protocols}
    assert catalog.suites["digits"].scenarios
    assert catalog.origin["method", "amun"].endswith(":amun")
    assert not catalog.failures


def test_an_installed_plugin_adds_its_method(site):
    install(site, "stranger", "stranger_plugin", METHOD.format(name="strange"))

    catalog = load_catalog()

    assert catalog.methods["strange"].config.lr == 0.1
    assert catalog.origin["method", "strange"] == "stranger:plugin"


def test_two_distributions_may_use_one_entry_point_name(site):
    install(site, "one", "plugin_one", METHOD.format(name="first"))
    install(site, "two", "plugin_two", METHOD.format(name="second"))

    assert {"first", "second"} <= {*load_catalog().methods}


HOOK = "from harness import hookimpl\n@hookimpl\ndef unlearning_methods():\n    "

FAULTS = {
    "import error": ("import no_such_module_anywhere", "ModuleNotFoundError"),
    "syntax error": ("def broken(:", "SyntaxError"),
    "exit at import": ("raise SystemExit(3)", "SystemExit"),
    "raising hook": (f"{HOOK}raise OSError('x')", "unlearning_methods() failed: OSError: x"),
    "raising generator": (f"{HOOK}raise OSError('late')\n    yield", "OSError: late"),
    "None": (f"{HOOK}pass", "returned None; expected a list of Method"),
    "not iterable": (f"{HOOK}return 3", "TypeError"),
    "wrong type": (f"{HOOK}return ['x']", "returned 'x'; expected Method"),
    "misspelt hook": (
        "from harness import hookimpl\n@hookimpl\ndef unlearning_method():\n    return []",
        "did you mean 'unlearning_methods'",
    ),
    "argument-taking hook": (
        "from harness import hookimpl\n@hookimpl\ndef unlearning_methods(config):\n    return []",
        "takes arguments; expected unlearning_methods()",
    ),
    "no hook": ("x = 1", "it has no hook"),
    "BaseException at import": ("class Odd(BaseException): ...\nraise Odd('odd')", "Odd: odd"),
    "exit in a hook": (f"{HOOK}raise SystemExit", "unlearning_methods() failed: SystemExit"),
    "a module that cannot be inspected": (
        "def __dir__():\n    raise OSError('no inspection')",
        "OSError: no inspection",
    ),
    "a result of many lines": (
        f"{HOOK}return [type('Odd', (), {{'__repr__': lambda _: 'a\\nb'}})()]",
        "returned a b; expected Method",
    ),
    "config without a JSON form": (
        METHOD.format(name="odd").replace("lr: float = 0.1", "at: complex = 1j"),
        "its config's at is 1j; expected finite numbers",
    ),
    "config with nan": (
        METHOD.format(name="odd").replace("= 0.1", "= float('nan')"),
        "its config's lr is nan; expected finite numbers",
    ),
    "no source": (
        METHOD.format(name="odd").replace("Method('odd', unlearn", "Method('odd', eval('len')"),
        "the source of <built-in function len> cannot be read",
    ),
    "config not frozen": (
        METHOD.format(name="melted").replace("frozen=True", "frozen=False"),
        "must be frozen",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_plugin_is_reported_and_does_not_affect_the_others(site, fault):
    text, reason = FAULTS[fault]
    install(site, "faulty", "faulty_plugin", text)
    install(site, "sound", "sound_plugin", METHOD.format(name="sound"))

    catalog = load_catalog()

    assert reason in catalog.failures["faulty:plugin"]
    assert "sound" in catalog.methods


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_plugin_given_by_p_is_a_one_line_user_error(tmp_path, fault):
    path = tmp_path / "given.py"
    path.write_text(FAULTS[fault][0])

    with pytest.raises(UserError) as error:
        load_catalog([str(path)])

    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_method_is_reported_with_the_plugins_that_failed(site):
    install(site, "faulty", "faulty_plugin", "import no_such_module_anywhere")
    catalog = load_catalog()

    with pytest.raises(UserError, match=r"faulty:plugin.*no_such_module_anywhere"):
        find("method", "its-method", catalog.methods, catalog.failures)


def test_two_specs_with_one_name_are_an_error_that_names_both_plugins(site):
    install(site, "one", "plugin_one", METHOD.format(name="twin"))
    install(site, "two", "plugin_two", METHOD.format(name="twin"))

    with pytest.raises(UserError, match=r"'twin'.*one:plugin.*two:plugin"):
        load_catalog()


@pytest.mark.parametrize("name", ["original", "retrain"])
def test_the_names_of_the_references_are_reserved(site, name):
    install(site, "one", "plugin_one", METHOD.format(name=name))

    with pytest.raises(UserError, match=f"'{name}'.*harness.*one:plugin"):
        load_catalog()


def test_a_method_and_a_scenario_cannot_share_a_page(site):
    install(site, "one", "plugin_one", METHOD.format(name="Digits-Random10"))

    with pytest.raises(UserError, match="would share one page"):
        load_catalog()


def test_a_module_of_the_working_directory_is_found(tmp_path, monkeypatch):
    (tmp_path / "local_plugin.py").write_text(METHOD.format(name="local"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    assert "local" in load_catalog(["local_plugin"]).methods


def test_two_files_with_one_name_are_two_plugins(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "plug.py").write_text(METHOD.format(name=folder))
    paths = [str(tmp_path / folder / "plug.py") for folder in ("a", "b", "a")]

    methods = load_catalog(paths).methods

    sources = {name: inspect.getsourcefile(methods[name].unlearn) for name in ("a", "b")}
    assert sources == {"a": paths[0], "b": paths[1]}


def test_editing_a_neighbour_that_a_plugin_imports_changes_the_plugins_hash(tmp_path):
    neighbour = tmp_path / "neighbour_of_plug.py"
    neighbour.write_text("LR = 0.1")
    path = tmp_path / "plug.py"
    path.write_text("import neighbour_of_plug\n" + METHOD.format(name="near"))
    before = source_hash(load_catalog([str(path)]).methods["near"].unlearn)

    neighbour.write_text("LR = 0.2")

    assert source_hash(load_catalog([str(path)]).methods["near"].unlearn) != before


def test_a_file_edited_within_one_second_runs_its_new_code(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "mine.py"
    for name in ("old", "new"):
        path.write_text(METHOD.format(name=name))
        os.utime(path, (1_000_000_000, 1_000_000_000))

        assert name in load_catalog([str(path)]).methods


def test_a_methods_identity_survives_a_move_of_its_folder(tmp_path):
    hashes = []
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "plug.py"
        path.write_text(METHOD.format(name="moved"))
        hashes.append(source_hash(load_catalog([str(path)]).methods["moved"].unlearn))

    assert hashes[0] == hashes[1]


def test_bound_arguments_are_part_of_a_partials_identity():
    assert source_hash(partial(install, 1)) != source_hash(partial(install, 2))
    assert source_hash(partial(install, site=1)) == source_hash(partial(install, site=1))


def test_a_source_in_another_encoding_is_decoded_like_python_does(tmp_path):
    path = tmp_path / "latin.py"
    text = "# -*- coding: latin-1 -*-\n# café\n" + METHOD.format(name="latin")
    path.write_bytes(text.encode("latin-1"))

    assert len(source_hash(load_catalog([str(path)]).methods["latin"].unlearn)) == 12


def test_a_plugin_both_installed_and_given_by_p_counts_once(site):
    install(site, "one", "plugin_one", METHOD.format(name="single"))

    assert "single" in load_catalog(["plugin_one"]).methods


@pytest.mark.parametrize("name", ["", "a/b", "..", "with space", "x" + "\n", "x" * 101])
def test_a_name_that_cannot_be_a_file_name_is_rejected(tmp_path, name):
    path = tmp_path / "given.py"
    path.write_text(METHOD.format(name=name))

    with pytest.raises(UserError, match="method name"):
        load_catalog([str(path)])


def test_every_hook_declares_what_it_may_return():
    declared = {name for name in dir(hookspecs) if name.startswith("unlearning_")}

    assert declared == {*RETURNS}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("here/smoth.py", "no such file; did you mean 'here/smooth.py'?"),
        ("nothing_like_it.py", "no such file: "),
        ("here", "it is a folder; expected a .py file or a module"),
        ("./here", "it is a folder; expected a .py file or a module"),
    ],
)
def test_a_plugin_that_is_no_file_is_reported_with_the_nearest_file(
    site, tmp_path, monkeypatch, given, message
):
    (tmp_path / "cwd/here").mkdir(parents=True)
    (tmp_path / "cwd/here/smooth.py").write_text(METHOD.format(name="smooth"))
    monkeypatch.chdir(tmp_path / "cwd")

    with pytest.raises(UserError) as error:
        load_catalog([given])

    assert str(error.value).startswith(f"plugin {given!r}: {message}")
