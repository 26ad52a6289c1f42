"""Discovery: every plugin on its own, every failure with its reason."""

import sys

import pytest

from harness import UserError, hookspecs
from harness.hookspecs import PROJECT
from harness.plugins import GIVES, find, load_catalog

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
    """Puts a distribution with one entry point where Python finds it, as pip would."""
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


def test_our_own_features_come_through_the_same_door():
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
    "wrong type": (f"{HOOK}return ['x']", "gave 'x'; expected Method"),
    "misspelt hook": (
        "from harness import hookimpl\n@hookimpl\ndef unlearning_method():\n    return []",
        "did you mean 'unlearning_methods'",
    ),
    "argument-taking hook": (
        "from harness import hookimpl\n@hookimpl\ndef unlearning_methods(config):\n    return []",
        "takes arguments; expected unlearning_methods()",
    ),
    "no hook": ("x = 1", "it has no hook"),
    "config not frozen": (
        METHOD.format(name="melted").replace("frozen=True", "frozen=False"),
        "must be frozen",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_plugin_is_named_with_its_reason_and_the_others_go_on(site, fault):
    text, reason = FAULTS[fault]
    install(site, "faulty", "faulty_plugin", text)
    install(site, "sound", "sound_plugin", METHOD.format(name="sound"))

    catalog = load_catalog()

    assert reason in catalog.failures["faulty:plugin"]
    assert "sound" in catalog.methods


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_plugin_given_by_hand_is_a_users_mistake_in_one_line(tmp_path, fault):
    path = tmp_path / "given.py"
    path.write_text(FAULTS[fault][0])

    with pytest.raises(UserError) as error:
        load_catalog([str(path)])

    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_failed_plugin_is_told_when_the_request_names_what_it_lacks(site):
    install(site, "faulty", "faulty_plugin", "import no_such_module_anywhere")
    catalog = load_catalog()

    with pytest.raises(UserError, match=r"faulty:plugin.*no_such_module_anywhere"):
        find("method", "its-method", catalog.methods, catalog.failures)


def test_two_specs_of_one_name_are_an_error_that_names_both_plugins(site):
    install(site, "one", "plugin_one", METHOD.format(name="twin"))
    install(site, "two", "plugin_two", METHOD.format(name="twin"))

    with pytest.raises(UserError, match=r"'twin'.*one:plugin.*two:plugin"):
        load_catalog()


@pytest.mark.parametrize("name", ["original", "retrain"])
def test_the_references_names_are_taken(site, name):
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


def test_a_plugin_installed_and_given_by_hand_counts_once(site):
    install(site, "one", "plugin_one", METHOD.format(name="single"))

    assert "single" in load_catalog(["plugin_one"]).methods


@pytest.mark.parametrize("name", ["", "a/b", "..", "with space", "x" + "\n"])
def test_a_name_that_could_be_no_file_is_refused(tmp_path, name):
    path = tmp_path / "given.py"
    path.write_text(METHOD.format(name=name))

    with pytest.raises(UserError, match="method name"):
        load_catalog([str(path)])


def test_every_hook_says_what_it_may_return():
    declared = {name for name in dir(hookspecs) if name.startswith("unlearning_")}

    assert declared == {*GIVES}
