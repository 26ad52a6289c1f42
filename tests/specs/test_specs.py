"""Specs: valid values of each field, the form in which they are stored, and error messages."""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from harness import (
    Augmentation,
    Backbone,
    Choice,
    ClassFraction,
    Dataset,
    Estimate,
    GivenRows,
    Method,
    Metric,
    NamedRecipe,
    Protocol,
    RandomFraction,
    Recipe,
    Replicate,
    Scenario,
    Span,
    Suite,
    UserError,
    WholeClass,
    require_no_negative,
)
from harness.plugins.catalog import load_catalog
from harness.records.json_lines import scenario_of
from harness.records.lines import canonical, identity, plain
from harness.runs.keys import problem_fields

RECIPE = Recipe(epochs=2, lr=0.1)


@dataclass(frozen=True)
class Settings:
    lr: float = 0.1
    epochs: int = 3
    mask: bool = False
    schedule: str = "constant"
    bound: float | None = None
    layers: tuple = ()


def method(config=None, **fields):
    return Method("m", lambda task, _config: task.model, config or Settings(), **fields)


def protocol(**fields):
    return Protocol(
        **{"name": "p", "version": 1, "metrics": (Metric("a"),), "measure": len} | fields
    )


def scenario(**fields):
    base = {"name": "s", "dataset": "d", "backbone": "b", "recipe": RECIPE}
    return Scenario(**{**base, "forget": RandomFraction(0.1), **fields})


def recipe(**fields):
    return replace(RECIPE, **fields)


NUMBERS = [
    (recipe, "epochs", [np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)], 3),
    (recipe, "batch", [np.int32(16), torch.tensor(16, dtype=torch.int16)], 16),
    (recipe, "lr", [np.float64(0.25), np.float32(0.25), torch.tensor(0.25)], 0.25),
    (recipe, "lr", [1, np.int64(1), np.float16(1), torch.tensor(1)], 1.0),
    (recipe, "weight_decay", [0, -0.0, np.float64(0), torch.tensor(0)], 0.0),
    (recipe, "momentum", [np.float32(0.5), torch.tensor(0.5, requires_grad=True)], 0.5),
    (scenario, "replicates", [np.int64(4), torch.tensor(4)], 4),
    (scenario, "held_out", [np.float64(0.5), np.array(0.5)], 0.5),
    (scenario, "retain_access", [1, np.int64(1), torch.tensor(1.0)], 1.0),
    (scenario, "tuning", [0, np.float32(0)], 0.0),
    (WholeClass, "label", [np.int64(7), np.array(7), torch.tensor(7)], 7),
    (lambda label: ClassFraction(label, 0.5), "label", [np.int64(7)], 7),
    (lambda fraction: ClassFraction(0, fraction), "fraction", [np.float64(0.25)], 0.25),
    (RandomFraction, "fraction", [np.float32(0.25)], 0.25),
    (lambda seed: Replicate(seed, 0), "seed", [np.int64(2), torch.tensor(2)], 2),
    (Estimate, "value", [np.float32(0.5), torch.tensor(0.5)], 0.5),
    (lambda n: Estimate(1.0, n=n), "n", [np.int64(9)], 9),
    (lambda low: Span(low, 9), "low", [np.int64(2), torch.tensor(2)], 2),
    (lambda low: Span(low, 9), "low", [np.float64(0.5)], 0.5),
    (protocol, "version", [np.int64(2)], 2),
]


@pytest.mark.parametrize(("make", "field", "given", "kept"), NUMBERS)
def test_numbers_of_numpy_and_torch_become_python_numbers_with_the_same_identity(
    make, field, given, kept
):
    for value in given:
        try:
            spec, same = make(**{field: value}), make(**{field: kept})
        except TypeError:
            spec, same = make(value), make(kept)

        found = getattr(spec, field)
        assert type(found) is type(kept)
        assert (found, math.copysign(1, found)) == (kept, math.copysign(1, kept))
        if not callable(getattr(spec, "measure", None)):
            assert identity(spec) == identity(same)


ROWS = [
    range(2, 5),
    [4, 2, 3],
    (2, 3, 4),
    {2, 3, 4},
    np.array([3, 2, 4]),
    np.array([2, 3, 4], dtype=np.uint8),
    torch.tensor([2, 4, 3]),
    tuple(np.arange(2, 5)),
    [torch.tensor(2), np.int16(3), 4],
]


@pytest.mark.parametrize("given", ROWS, ids=repr)
def test_rows_in_any_kind_of_sequence_become_a_sorted_tuple_of_ints(given):
    rule = GivenRows(given)

    assert rule.rows == (2, 3, 4)
    assert {type(row) for row in rule.rows} == {int}
    assert identity(rule) == identity(GivenRows((2, 3, 4)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((5, 5, 6), "GivenRows: rows must be distinct.*1 of 3 rows are repeats, such as 5"),
        ((), "no rows were given"),
        (np.zeros(0, dtype=np.int64), "no rows were given"),
        ((-1, 3), "the rows run from -1 to 3"),
        ((1, 2**70), "the rows run from 1 to"),
        ((1.0, 2.0), "1.0 is not a whole number"),
        (torch.tensor([1.0]), "1.0 is not a whole number"),
        (("3",), r"'3' \(text\) is not a row number"),
        ("123", r"got '123' \(text\)"),
        (3, "got 3"),
        (None, "got None"),
        ({1: 2}, "got"),
        (torch.tensor([True, False]), r"True is not a row number; for a mask, give its rows"),
        (np.array([[1, 2]]), "is not a row number"),
        (torch.tensor(3), "got tensor"),
        ((row for row in (1, 2)), "generator"),
    ],
)
def test_invalid_or_repeated_rows_are_rejected_with_what_was_found(given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        GivenRows(given)


NAN, INF = math.nan, math.inf
REFUSED = [
    (lambda v: recipe(lr=v), [NAN, INF, -INF, -0.1, "1e-3", True, None, 1j, [0.1]], "lr"),
    (lambda v: recipe(lr=v), [np.float32("nan"), torch.tensor([0.1]), Fraction(1, 3)], "lr"),
    (lambda v: recipe(lr=v), [10**400, 1e301], "lr"),
    (lambda v: recipe(epochs=v), [-1, 1.0, 2.5, NAN, "3", True, None, np.True_], "epochs"),
    (lambda v: recipe(epochs=v), [2**63, np.float64(2)], "epochs"),
    (lambda v: recipe(batch=v), [0, -4, 16.0, "16", False], "batch"),
    (lambda v: recipe(momentum=v), [1, 1.5, -0.1, NAN, "0.9", True], "momentum"),
    (lambda v: recipe(weight_decay=v), [-1e-9, NAN, INF, "5e-4", None], "weight_decay"),
    (lambda v: recipe(schedule=v), ["linear", "", None, 1, ("cosine",)], "schedule"),
    (lambda v: recipe(optimizer=v), ["adam", "SGD", "", None, 1], "optimizer"),
    (lambda v: recipe(nesterov=v), [1, "yes", None], "nesterov"),
    (lambda v: recipe(schedule="step", step_size=v), [-1, 1.0, "5", True, None], "step_size"),
    (lambda v: recipe(schedule="step", gamma=v), [0, -0.1, NAN, INF, "0.1"], "gamma"),
    (lambda v: recipe(augmentation=v), [None, True, "crop", Augmentation], "augmentation"),
    (lambda v: Augmentation(crop=v), [1, "yes", None, 0.0], "crop"),
    (lambda v: Augmentation(flip=v), [1, "no", None], "flip"),
    (lambda v: scenario(dataset=v), ["", None, 3, b"digits", "folder:/pets\udcff"], "dataset"),
    (lambda v: scenario(backbone=v), ["", None, 3], "backbone"),
    (lambda v: scenario(recipe=v), [None, {"epochs": 1, "lr": 0.1}, Recipe], "recipe"),
    (lambda v: scenario(forget=v), [None, 0.1, "class 3", 3, (1, 2), WholeClass], "forget"),
    (lambda v: scenario(retain_access=v), [-0.1, 1.1, NAN, "1", True, None], "retain_access"),
    (lambda v: scenario(held_out=v), [-0.1, 1, NAN, "0", False], "held_out"),
    (lambda v: scenario(stem=v), ["large", None, True], "stem"),
    (lambda v: scenario(mia=v), ["", "loss-mia", ".auc", "loss-mia.", None], "mia"),
    (lambda v: scenario(replicates=v), [0, -1, 3.0, "3", True, NAN], "replicates"),
    (lambda v: scenario(tuning=v), [1, -0.5, NAN, "0.5", True], "tuning"),
    (RandomFraction, [0, 1, 1.5, -0.1, NAN, "0.1", True, None], "fraction"),
    (lambda v: ClassFraction(3, v), [0, 1, NAN, "0.5", True], "fraction"),
    (lambda v: ClassFraction(v, 0.5), [-1, 3.0, "3", True, None], "label"),
    (WholeClass, [-1, 3.0, "3", True, None, NAN, 2**63, [3]], "label"),
    (lambda v: Replicate(v, 0), [-1, 0.0, "0", True, None], "seed"),
    (lambda v: Replicate(0, v), [-1, 0.0, "0", True, None], "forget_seed"),
    (lambda v: Suite("s", v), ["tiny", (), None, (1,), 3, ("",)], "scenarios"),
    (lambda v: Suite("s", ("a",), v), ["finetune", None, (1,)], "methods"),
    (lambda v: Backbone("b", v), [None, "resnet"], "build"),
    (lambda v: NamedRecipe("r", v), [None, "fast", {"epochs": 1}], "recipe"),
    (lambda v: NamedRecipe("r", RECIPE, v), [None, 3], "paper"),
    (lambda v: NamedRecipe("r", Recipe(v, 0.1)), [0], "at least 1 epoch"),
    (lambda v: NamedRecipe("r", Recipe(1, v)), [0], "a rate above 0"),
    (lambda v: Dataset("d", v), [None, "digits"], "load"),
    (lambda v: Dataset("d", len, v), [None, 3], "source"),
    (lambda v: protocol(version=v), [-1, 1.0, "1", True, None], "version"),
    (lambda v: protocol(metrics=v), [(), None, Metric("a"), ("a",), "a"], "metrics"),
    (lambda v: protocol(metrics=v), [(Metric("a"), Metric("a"))], "metrics share a name"),
    (lambda v: protocol(measure=v), [None, 3], "measure"),
    (lambda v: protocol(defined_for=v), [(), "class", {"clas"}, None], "defined_for"),
    (Metric, ["", None, 3], "name"),
    (lambda v: Metric("a", goal=v), ["best", None], "goal"),
    (lambda v: Metric("a", unit=v), [None, 3], "unit"),
    (Estimate, [NAN, INF, "50", True], "value"),
    (lambda v: Estimate(1.0, v, 2.0), [NAN, -INF, "0", None], "low"),
    (lambda v: Estimate(1.0, 3.0, v), [NAN, "0", None, 2.0], "high"),
    (lambda v: Estimate(1.0, n=v), [-1, 1.0, "3", True], "n must"),
    (lambda v: Estimate(None, note=v), [None, 3], "note"),
    (lambda v: Span(v, 1), [NAN, -INF, "0", True, 1, 2], "low"),
    (lambda v: Span(0, v), [NAN, INF, "1", None, 0, -1], "high"),
    (lambda v: Span(0.1, 1, log=v), [1, "yes", None], "log"),
    (lambda v: Span(v, 1, log=True), [0, -1], "logarithmic"),
    (Choice, [(), (1,), "ab", None, 3], "options|choice"),
    (Choice, [(1, NAN), (1, INF), (1, [2]), (1, 1), ("a", "a")], "options|choice"),
    (lambda v: method(unlearn=v), [], "unlearn"),
    (lambda v: method(needs_retain=v), [1, None, "no"], "needs_retain"),
    (lambda v: method(needs_held_out=v), [0, None], "needs_held_out"),
    (lambda v: method(defined_for=v), ["class", (), ("klass",), None, 3], "defined_for"),
    (lambda v: method(paper=v), [None, 3], "paper"),
    (lambda v: method(at_training=v), [3, "x"], "at_training"),
    (lambda v: method(search=v), [None, [("lr", Span(0, 1))], "lr"], "search"),
    (lambda v: method(search={"lr": v}), [(0, 1), None, 0.1], r"search\['lr'\]"),
    (lambda v: method(search={v: Span(0, 1)}), ["rate"], "which its config lacks"),
    (lambda v: method(search={v: Span(0.5, 3)}), ["epochs"], "between whole numbers"),
    (lambda v: method(search={v: Span(0, 1)}), ["mask", "schedule"], "give a Choice"),
    (lambda v: method(Settings(lr=v)), [NAN, INF, "1e-3", True], "lr"),
    (lambda v: method(Settings(epochs=v)), [NAN, "3", False, 2.5], "epochs"),
    (lambda v: method(Settings(bound=v)), [NAN, torch.zeros(2), object()], "bound"),
    (method, [Settings, {"lr": 0.1}, 3], "config"),
]


@pytest.mark.parametrize(
    ("make", "value", "field"),
    [(make, value, field) for make, values, field in REFUSED for value in values],
)
def test_an_invalid_field_is_rejected_when_the_spec_is_created(make, value, field):
    with pytest.raises((TypeError, ValueError), match=field) as error:
        make(value)

    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: recipe(lr=NAN), "Recipe: lr must be a finite number of at least 0; got nan"),
        (
            lambda: recipe(lr="1e-3"),
            "Recipe: lr must be a finite number of at least 0; got '1e-3' (text)",
        ),
        (lambda: recipe(batch=0), "Recipe: batch must be a whole number of at least 1; got 0"),
        (lambda: recipe(momentum=1), "Recipe: momentum must be a number in [0, 1); got 1"),
        (
            lambda: recipe(schedule="linear"),
            (
                "Recipe: schedule must be one of 'one-cycle', 'cosine', 'step', 'constant'; "
                "got 'linear' (text)"
            ),
        ),
        (
            lambda: recipe(nesterov=True, optimizer="adamw"),
            "Recipe: nesterov needs optimizer 'sgd'; got optimizer 'adamw'",
        ),
        (
            lambda: recipe(nesterov=True, momentum=0),
            "Recipe: nesterov needs a momentum above 0; got momentum 0.0",
        ),
        (
            lambda: recipe(schedule="step"),
            "Recipe: schedule 'step' needs a step_size, in epochs; got step_size 0",
        ),
        (
            lambda: recipe(schedule="cosine", step_size=5),
            "Recipe: step_size belongs to schedule 'step'; got step_size 5 with schedule 'cosine'",
        ),
        (
            lambda: recipe(gamma=0.5),
            "Recipe: gamma belongs to schedule 'step'; got gamma 0.5 with schedule 'one-cycle'",
        ),
        (
            lambda: scenario(recipe=recipe(epochs=0)),
            (
                "scenario 's': recipe must train for at least 1 epoch at a rate above 0; "
                "got epochs 0 and lr 0.1"
            ),
        ),
        (
            lambda: scenario(recipe=recipe(lr=0)),
            (
                "scenario 's': recipe must train for at least 1 epoch at a rate above 0; "
                "got epochs 2 and lr 0"
            ),
        ),
        (
            lambda: scenario(crossed=(1, 10, 100), replicates=3),
            "scenario 's': 3 crossed seeds give 9 replicates; got replicates 3",
        ),
        (
            lambda: scenario(held_out=True),
            "scenario 's': held_out must be a number in [0, 1); got True",
        ),
        (
            lambda: WholeClass("3"),
            "WholeClass: label must be a whole number of at least 0; got '3' (text)",
        ),
        (
            lambda: scenario(forget=0.1),
            "scenario 's': forget must be a forget rule, such as RandomFraction(0.1); got 0.1",
        ),
        (
            lambda: scenario(forget=RandomFraction),
            (
                "scenario 's': forget must be a forget rule, such as RandomFraction(0.1); "
                "got the class RandomFraction (write RandomFraction(…))"
            ),
        ),
        (
            lambda: recipe(augmentation=True),
            "Recipe: augmentation must be an Augmentation; got True",
        ),
        (
            lambda: Estimate(1.0, 2.0, 3.0),
            "Estimate: the interval [2.0, 3.0] must contain the value; got 1.0",
        ),
    ],
)
def test_an_error_names_the_spec_the_field_what_was_found_and_what_was_expected(make, message):
    with pytest.raises((TypeError, ValueError)) as error:
        make()

    assert str(error.value) == message


@pytest.mark.parametrize(
    "later", [{"crossed": (1, 10, 100), "replicates": 9}, {"tuned_as": "another"}]
)
def test_what_only_affects_the_page_is_no_part_of_a_problem(later):
    changed = scenario(**later)

    assert identity(problem_fields(changed)) == identity(problem_fields(scenario()))
    assert identity(changed) != identity(scenario())


def test_a_subclass_that_no_record_can_represent_is_rejected():
    class Mine(Recipe):
        pass

    class Rule(WholeClass):
        pass

    class Problem(Scenario):
        pass

    for make in (lambda: Mine(1, 0.1), lambda: Rule(3), lambda: Problem(**vars(scenario()))):
        with pytest.raises(TypeError, match="is a subclass of"):
            make()


def test_lists_and_sets_become_tuples():
    suite = Suite("s", ["a", "b"], ["m"])
    chosen = Choice([1, np.int64(2), np.float64(0.5), "x", None, True])

    assert (suite.scenarios, suite.methods) == (("a", "b"), ("m",))
    assert chosen.options == (1, 2, 0.5, "x", None, True)
    assert [type(each) for each in chosen.options[:3]] == [int, int, float]
    for spec in (method, protocol):
        assert spec(defined_for=["class", "given"]).defined_for == frozenset({"class", "given"})


def test_a_choice_may_contain_1_and_1_point_0_and_true():
    assert Choice((1, 1.0, True)).options == (1, 1.0, True)


def test_a_methods_settings_become_python_numbers():
    given = Settings(lr=np.float32(0.25), epochs=torch.tensor(4), bound=np.float64(2))

    kept = method(given).config

    assert kept == Settings(lr=0.25, epochs=4, bound=2.0)
    assert [type(value) for value in (kept.lr, kept.epochs, kept.bound)] == [float, int, float]
    assert identity(kept) == identity(Settings(lr=0.25, epochs=4, bound=2.0))


@pytest.mark.parametrize("value", [-1, -0.1, math.nan, -math.inf])
def test_require_no_negative_rejects_nan_too(value):
    with pytest.raises(ValueError, match="lr must not be negative; got"):
        require_no_negative(Settings(lr=value))


def test_a_scenario_with_extreme_values_can_be_read_from_its_record():
    extreme = scenario(
        recipe=Recipe(2**63 - 1, 1e299, 2**40, 0.0, 1e-320, "cosine", Augmentation(crop=True)),
        forget=GivenRows(range(3)),
        held_out=0.999999,
        replicates=2**63 - 1,
    )

    again = scenario_of(plain(extreme))

    assert again == extreme


def test_an_earlier_request_keeps_its_identity():
    asked = canonical(
        Scenario(
            name="digits-class3",
            dataset="digits",
            backbone="test_resnet",
            recipe=Recipe(epochs=24, lr=0.1, batch=64),
            forget=WholeClass(3),
            replicates=10,
            tuning=0.5,
        )
    )

    assert asked == (
        '{"backbone":"test_resnet","dataset":"digits","forget":{"is":"WholeClass","label":3},'
        '"held_out":0.0,"is":"Scenario","mia":"loss-mia.auc","name":"digits-class3","recipe":'
        '{"augmentation":{"crop":false,"flip":false,"is":"Augmentation"},"batch":64,"epochs":24,'
        '"is":"Recipe","lr":0.1,"momentum":0.9,"schedule":"one-cycle","weight_decay":0.0005},'
        '"replicates":10,"retain_access":1.0,"stem":"own","tuning":0.5}'
    )


def test_a_later_setting_is_part_of_a_recipes_identity_only_if_it_is_used():
    plainly = recipe(optimizer="sgd", nesterov=False, step_size=0, gamma=0.1)
    used = recipe(nesterov=True, schedule="step", step_size=5, gamma=0.2)

    assert plain(plainly).keys() == {
        "is", "epochs", "lr", "batch", "momentum", "weight_decay", "schedule", "augmentation"
    }  # fmt: skip
    assert plain(used).keys() - plain(plainly).keys() == {"nesterov", "step_size", "gamma"}
    assert plain(recipe(optimizer="adamw"))["optimizer"] == "adamw"


@pytest.mark.parametrize(
    "given",
    [
        {"optimizer": "adamw"},
        {"nesterov": True},
        {"schedule": "step", "step_size": 5, "gamma": 0.2},
    ],
)
def test_a_recipe_with_later_settings_can_be_read_from_its_record(given):
    asked = scenario(recipe=recipe(**given))

    assert scenario_of(plain(asked)) == asked


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            Recipe(
                200, 0.1, 256, schedule="cosine", nesterov=True, augmentation=Augmentation(True)
            ),
            (
                "200 epochs, SGD with Nesterov, lr 0.1 (cosine), batch 256, momentum 0.9, "
                "weight decay 0.0005, crop"
            ),
        ),
        (
            Recipe(1, 1e-3, schedule="constant", optimizer="adamw", weight_decay=0.05),
            (
                "1 epoch, AdamW, lr 0.001 (constant), batch 64, momentum 0.9, weight decay 0.05, "
                "no augmentation"
            ),
        ),
        (
            Recipe(9, 0.1, schedule="step", step_size=4, augmentation=Augmentation(True, True)),
            (
                "9 epochs, SGD, lr 0.1 (times 0.1 every 4 epochs), batch 64, momentum 0.9, "
                "weight decay 0.0005, crop and flip"
            ),
        ),
    ],
)
def test_a_named_recipe_is_told_in_words(given, words):
    assert NamedRecipe("r", given).describe() == words


def test_a_recipe_with_a_new_schedule_drops_the_settings_of_the_old_one():
    stepped = recipe(schedule="step", step_size=5, gamma=0.2, nesterov=True)

    found = stepped.retimed(epochs=3, lr=0.02, schedule="cosine")

    assert found == recipe(epochs=3, lr=0.02, schedule="cosine", nesterov=True)
    assert stepped.retimed(epochs=3, lr=0.02, schedule="step") == replace(
        stepped, epochs=3, lr=0.02
    )


BROKEN = """
import numpy as np, torch
from harness import *
from harness import hookimpl

@hookimpl
def unlearning_scenarios():
    recipe = Recipe(epochs=1, lr={lr})
    return [Scenario("mine", "digits", "test_resnet", recipe, {rule})]
"""


@pytest.mark.parametrize(
    ("lr", "rule", "reason"),
    [
        ("float('nan')", "WholeClass(3)", "lr must be a finite number of at least 0; got nan"),
        ("'1e-3'", "WholeClass(3)", "lr must be"),
        ("0.1", "WholeClass('3')", "label must be a whole number"),
        ("0.1", "GivenRows((5, 5))", "repeats"),
        ("0.1", "0.1", "forget must be a forget rule, such as RandomFraction"),
    ],
)
def test_a_plugins_invalid_scenario_gives_a_one_line_error(tmp_path, lr, rule, reason):
    file = tmp_path / "plugin.py"
    file.write_text(BROKEN.format(lr=lr, rule=rule))

    with pytest.raises(UserError, match=reason) as error:
        load_catalog([str(file)])

    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "rule", ["WholeClass(np.int64(3))", "GivenRows(np.arange(5))", "GivenRows(range(5))"]
)
def test_a_plugins_scenario_may_use_numpy_numbers(unlearn, work, rule):
    (work / "plugin.py").write_text(BROKEN.format(lr="np.float64(0.1)", rule=rule))

    status, out, _ = unlearn("list", "scenarios", "-p", "plugin.py")

    assert status == 0
    assert "mine" in out


def test_a_class_given_as_config_is_shown_its_instance():
    with pytest.raises(TypeError, match=r"got the class Method; write Method\(…\)$"):
        Method("m", print, Method)
