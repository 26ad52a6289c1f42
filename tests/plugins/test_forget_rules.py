"""Forget rules of plugins: their source hashes, and their lookup for recorded scenarios."""

import json
import sys
from dataclasses import replace

import pytest
import torch

from harness import RandomFraction, Recipe, Replicate, Scenario, UserError
from harness.datasets.splits import split
from harness.plugins.catalog import load_catalog
from harness.plugins.forget_rules import rule_source, with_plugin_rule, with_source
from harness.plugins.hookspecs import PROJECT
from harness.records.lines import canonical
from harness.records.store import Store
from harness.specs.recorded_rule import RecordedRule

PLUGIN = """
from dataclasses import dataclass

from harness import ForgetRule, Recipe, Scenario, hookimpl


@dataclass(frozen=True)
class EveryNth(ForgetRule):
    steps: tuple
    kind = "random"

    def select(self, labels, members, generator):
        return members[:: self.steps[0]]

    def describe(self, classes=()):
        return f"one image in {self.steps[0]}"

    def substitute(self, labels):
        return self


@hookimpl
def unlearning_scenarios():
    return [Scenario("nth", "digits", "test_resnet", Recipe(1, 0.1), EveryNth((4,)))]
"""

BUILT_IN = Scenario("s", "d", "b", Recipe(1, 0.1), RandomFraction(0.1))


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the path of Python, in which an installed plugin may lie."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("nth_rule", None)


def install(site, text=PLUGIN):
    """Installs the plugin with an entry point, as pip would, and loads the catalog."""
    (site / "nth_rule.py").write_text(text)
    info = site / "nth_rule-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nth-rule\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{PROJECT}]\nrule = nth_rule\n")
    sys.modules.pop("nth_rule", None)
    return load_catalog()


def given(folder, text=PLUGIN):
    """Loads the catalog with the plugin as a file of ``-p``."""
    path = folder / "nth_rule.py"
    path.write_text(text)
    return load_catalog([str(path)])


def recorded(scenario):
    """The scenario as a record contains it."""
    return replace(scenario, forget=RecordedRule.of(scenario.forget))


def test_a_rule_from_an_installed_plugin_has_a_source_hash_and_selects_its_rows(site):
    catalog = install(site)

    scenario = catalog.scenarios["nth"]
    rows = split(scenario, Replicate(0, 0), torch.arange(20) % 4, torch.arange(8) % 4)

    assert catalog.origin["scenario", "nth"] == "nth-rule:rule"
    assert len(scenario.forget.source) == 12
    assert rows.forget.tolist() == [0, 4, 8, 12, 16]


def test_an_installed_rule_and_one_given_by_p_have_the_same_identity(site, tmp_path):
    of_file = given(tmp_path).scenarios["nth"]

    installed = install(site).scenarios["nth"]

    assert canonical(recorded(installed)) == canonical(recorded(of_file))


def test_a_recorded_rule_is_replaced_by_the_installed_plugins_own(site):
    scenario = install(site).scenarios["nth"]

    found = with_plugin_rule(recorded(scenario), load_catalog())

    assert found == scenario
    assert found.forget.steps == (4,)


def test_a_recorded_rule_is_rebuilt_with_the_recorded_settings(site):
    catalog = install(site)
    scenario = catalog.scenarios["nth"]
    other = replace(scenario, forget=replace(scenario.forget, steps=(5,)))

    assert with_plugin_rule(recorded(other), catalog).forget.steps == (5,)


def test_a_recorded_rule_whose_source_has_changed_is_rejected(site):
    scenario = recorded(install(site).scenarios["nth"])
    edited = install(site, PLUGIN.replace("members[::", "members[1::"))

    with pytest.raises(UserError, match="the source of its forget rule EveryNth has changed"):
        with_plugin_rule(scenario, edited)


def test_a_recorded_rule_without_its_plugin_is_rejected_with_a_remedy(site):
    scenario = recorded(install(site).scenarios["nth"])
    (site / "nth_rule-1.0.dist-info" / "entry_points.txt").unlink()

    with pytest.raises(UserError, match="no plugin provides its forget rule EveryNth; install one"):
        with_plugin_rule(scenario, load_catalog())


def test_an_edit_of_a_rules_module_changes_its_hash_and_a_comment_does_not(site):
    texts = (PLUGIN, PLUGIN + "# A comment.\n", PLUGIN.replace("members[::", "members[1::"))

    first, commented, edited = (
        install(site, text).scenarios["nth"].forget.source for text in texts
    )

    assert first == commented != edited


def test_a_built_in_rule_has_no_source_and_stays_as_it_is():
    rule = BUILT_IN.forget

    assert rule_source(rule) is None
    assert with_source(rule) is rule
    assert with_plugin_rule(BUILT_IN, load_catalog()) is BUILT_IN


def test_a_rules_settings_survive_the_record_as_json(site):
    rule = install(site).scenarios["nth"].forget

    assert json.loads(RecordedRule.of(rule).settings) == {"steps": [4]}


def test_an_installed_rule_is_run_recorded_and_measured_again(unlearn, work, site):
    tiny = PLUGIN.replace('"digits", "test_resnet"', '"tiny-set", "tiny-net"')
    install(site, tiny.replace("Recipe(1, 0.1)", "Recipe(1, 0.1, batch=16)"))
    words = ("run", "finetune", "--scenario", "nth", "--replicates", "1", "--defaults")

    status, _, err = unlearn(*words)
    unlearn("leaderboard")
    store = Store(work / "runs")
    measured = store.keys("measurements")
    for key in measured:
        store.discard("measurements", key)
    again, _, complaints = unlearn("measure")

    assert (status, err) == (0, "")
    assert "Forget one image in 4." in (work / "leaderboards" / "nth.md").read_text()
    assert (again, complaints) == (0, "")
    assert store.keys("measurements") == measured
