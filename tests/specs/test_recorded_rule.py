"""A plugin's forget rule works like a built-in one everywhere in the program."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from harness import ForgetRule, RandomFraction, Recipe, Replicate, Scenario, UserError
from harness.datasets.splits import split, substitute
from harness.records.store import Store

PLUGIN = """
from dataclasses import dataclass, replace

from harness import ForgetRule, Recipe, Scenario, hookimpl


@dataclass(frozen=True)
class FirstOfClass(ForgetRule):
    label: int
    count: int = 3
    kind = "partial-class"

    def select(self, labels, members, generator):
        return members[labels[members] == self.label][: self.count]

    def describe(self, classes=()):
        name = f" ({classes[self.label]})" if classes else ""
        return f"the first {self.count} images of class {self.label}{name}"

    def substitute(self, labels):
        return replace(self, label=(self.label + 1) % 3)


@hookimpl
def unlearning_scenarios():
    return [
        Scenario(
            "first", "tiny-set", "tiny-net", Recipe(10, 0.1, batch=16), FirstOfClass(1),
            replicates=2, tuning=0.5,
        )
    ]
"""


@pytest.fixture
def plugin(work):
    file = work / "rules.py"
    file.write_text(PLUGIN)
    return file


def run_ids():
    return {*Store(Path("runs")).keys("runs")}


def test_a_plugins_rule_is_run_and_recorded_and_stays_on_the_page_without_its_plugin(
    unlearn, work, plugin
):
    records = work / "leaderboards/records/first.jsonl"
    page = work / "leaderboards/first.md"
    words = ("run", "finetune", "--scenario", "first", "--replicates", "1", "-p", str(plugin))

    assert unlearn(*words)[0] == 0
    unlearn("leaderboard")
    written, shown = records.read_text(), page.read_text()
    unlearn("leaderboard", "--store", "none")

    assert "Forget the first 3 images of class 1. Data set `tiny-set`" in shown
    assert records.read_text() == written
    assert page.read_text() == shown
    rule = json.loads(next(x for x in written.splitlines() if '"kind": "run"' in x))["scenario"]
    assert {**rule["forget"], "source": ""} == {
        "is": "FirstOfClass",
        "label": 1,
        "count": 3,
        "kind": "partial-class",
        "says": "the first 3 images of class 1",
        "source": "",
    }
    assert "the first 3 images of class 1" in unlearn("show", min(run_ids()))[1]
    assert "did 0 models, 0 logits, 0 runs, 0 measurements" in unlearn(*words)[1]


def test_an_edited_rule_causes_new_runs_and_keeps_the_original_models(unlearn, plugin):
    words = ("run", "finetune", "--scenario", "first", "--replicates", "1", "-p", str(plugin))
    unlearn(*words)
    before = run_ids()
    models = {*Store(Path("runs")).keys("models")}

    plugin.write_text(PLUGIN.replace("[: self.count]", "[-self.count :]"))
    unlearn(*words)

    assert len(run_ids() - before) == len(before)
    assert len({*Store(Path("runs")).keys("models")} - models) == len(models) - 1


def test_old_runs_of_a_plugins_rule_can_be_measured_only_with_the_plugin(unlearn, plugin):
    unlearn("run", "finetune", "--scenario", "first", "--replicates", "1", "-p", str(plugin))
    store = Store(Path("runs"))
    for key in store.keys("measurements"):
        store.discard("measurements", key)

    _, out, err = unlearn("measure")
    again = unlearn("measure", "-p", str(plugin))

    assert "no plugin provides its forget rule FirstOfClass" in err
    assert out.startswith("measured 0 of 0")
    assert again[0] == 0
    assert len(store.keys("measurements")) == 5 * 5  # protocols of class scenarios


@pytest.mark.parametrize("verb", ["run", "tune"])
def test_a_rule_that_draws_from_the_global_generator_is_named_before_any_training(
    unlearn, plugin, verb
):
    drawn = "members[torch.randperm(len(members))[: self.count]]"
    text = PLUGIN.replace("members[labels[members] == self.label][: self.count]", drawn)
    plugin.write_text(f"import torch\n{text}")

    status, _, err = unlearn(verb, "finetune", "--scenario", "first", "-p", str(plugin))

    assert status == 2
    assert "forget rule FirstOfClass of plugin 'rules' selects other rows when asked again" in err
    assert err.count("\n") == 1
    assert not Store(Path("runs")).keys("models")
    assert not Store(Path("runs/tuning")).keys("models")


def test_tuning_uses_the_rules_substitute(unlearn, work, plugin):
    status, _, err = unlearn(
        "tune", "finetune", "--scenario", "first", "--trials", "6", "--replicates", "1", "-p",
        str(plugin),
    )  # fmt: skip

    assert status == 0, err
    store = Store(Path("runs/tuning"))
    runs = [store.read("runs", key).facts["line"] for key in store.keys("runs")]
    tuned = json.loads((work / "leaderboards/tuned/first.json").read_text())

    assert len(tuned["finetune"]["trials"]) == 6
    assert {run["scenario"]["forget"]["label"] for run in runs} == {2}
    assert len({run["scenario"]["forget"]["source"] for run in runs} - {""}) == 1


TRAIN, TEST = torch.arange(20) % 4, torch.arange(8) % 4


@dataclass(frozen=True)
class Returning(ForgetRule):
    """Evaluates an expression that a test supplies."""

    what: str
    kind: ClassVar[str] = "given"

    def select(self, labels, members, generator):
        return eval(self.what)

    def describe(self, classes=()):
        return "what a test asks for"

    def substitute(self, labels):
        return eval(self.what)


def asking(what, **fields):
    return Scenario("s", "d", "b", Recipe(1, 0.1), Returning(what), **fields)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("members[:0]", "selected no rows; expected 1 to 19 of 20"),
        ("members", "selected all 20 rows; expected 1 to 19 of 20"),
        ("members[[1, 2, 2]]", "selected rows more than once, such as 2"),
        ("members[:3] + 18", r"selected 3 rows; 1 of them are not in \[0, 20\).*, such as 20"),
        ("members[:3] - 1", r"1 of them are not in \[0, 20\).*, such as -1"),
        ("members[:3].int()", r"a tensor of shape \(3,\) and type int32; expected row numbers"),
        ("members < 3", r"bool; expected row numbers .*; return members\[mask\[members\]\]$"),
        ("members.reshape(2, 10)", r"a tensor of shape \(2, 10\) and type int64"),
        ("[1, 2]", r"selected \[1, 2\] \(list\); expected a tensor of row numbers, int64"),
        ("None", "selected None; expected a tensor"),
        ("1 / 0", "failed: ZeroDivisionError: division by zero"),
    ],
)
def test_an_invalid_selection_gives_a_one_line_error_with_the_rule_and_its_plugin(what, message):
    with pytest.raises(
        UserError, match=f"Returning of plugin '.*test_recorded_rule'.*{message}"
    ) as error:
        split(asking(what), Replicate(0, 0), TRAIN, TEST)

    assert "\n" not in str(error.value)


def test_a_rule_must_not_select_held_out_rows():
    scenario = asking("torch.arange(20)[:10]", held_out=0.5)

    with pytest.raises(UserError, match="of them are held out with seed 0, such as"):
        split(scenario, Replicate(0, 0), TRAIN, TEST)


def test_a_rule_cannot_change_the_labels_that_it_receives():
    labels = TRAIN.clone()

    rows = split(asking("labels.zero_()[:0].new_tensor([7, 3])"), Replicate(0, 0), labels, TEST)

    assert rows.forget.tolist() == [3, 7]
    assert labels.equal(TRAIN)


@pytest.mark.parametrize("what", ["None", "1 / 0", "'class 3'"])
def test_an_invalid_substitute_gives_a_one_line_error(what):
    with pytest.raises(UserError, match=r"Returning of plugin .* has no substitute for tuning: "):
        substitute(asking(what), TRAIN)


class Undecorated(Returning):
    """A subclass that is not itself a dataclass."""


@dataclass(frozen=True)
class SettableKind(ForgetRule):
    """Declares its kind as a setting."""

    kind: str = "random"

    select = describe = substitute = None


@dataclass(frozen=True)
class Silent(Returning):
    """Describes itself as its setting."""

    def describe(self, classes=()):
        return self.what


@dataclass(frozen=True)
class Odd(Returning):
    """Has an unknown kind."""

    kind: ClassVar[str] = "strange"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Returning, "got the class Returning (write Returning(…))"),
        (Silent(None), "Silent.describe() returned None; expected text"),
        (Silent(""), "Silent.describe() returned '' (text); expected text"),
        (Undecorated("x"), "must itself be a frozen dataclass"),
        (SettableKind(), "'kind' cannot be a setting; annotate it as a ClassVar"),
        (Odd("x"), "its kind must be one of class, given, partial-class, random; got 'strange'"),
        (Returning(["x"]), "its what is ['x'] (list); expected finite numbers, strings"),
        (Returning(float("nan")), "its what is nan; expected finite numbers"),
    ],
)
def test_a_rule_that_no_record_can_represent_is_rejected(rule, message):
    with pytest.raises((TypeError, ValueError)) as error:
        Scenario("s", "d", "b", Recipe(1, 0.1), rule)

    assert "scenario 's': forget must be a forget rule" in str(error.value)
    assert message in str(error.value)


def test_numpy_numbers_become_python_numbers():
    scenario = Scenario("s", "d", "b", Recipe(1, 0.1), Returning(np.int64(3)))

    assert type(scenario.forget.what) is int


def test_a_rule_without_all_methods_cannot_be_instantiated():
    @dataclass(frozen=True)
    class Half(ForgetRule):
        kind: ClassVar[str] = "random"

    with pytest.raises(TypeError, match="abstract"):
        Half()


def test_rules_with_different_sources_differ_and_a_built_in_rule_has_no_source():
    assert replace(Returning("x"), source="a") != Returning("x")
    assert RandomFraction(0.1).source == ""
