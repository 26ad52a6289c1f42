"""Methods that cheat: only a retrained model reaches the noise floor, and others are seen.

harness/NUMBERS.md has these results as a table.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cheats import DISGUISES, Answers, LookUp
from given_away import (
    ACCURACIES,
    ENSEMBLES,
    FT,
    KLOM,
    PROTOCOLS,
    WATCHED,
    given_away,
    with_constant_margins,
    with_look_up,
)
from worlds import cells

from harness.cli import main
from harness.plugins.catalog import load_catalog
from harness.records.store import StepId, Store
from harness.runs.audit import audit_of
from harness.runs.evidence import evidence_of, split_of
from harness.runs.plan import Entrant, Problem, make_plan
from harness.runs.steps import _weights, checked
from harness.runs.workspace import Workspace
from harness.specs.data import Data
from harness.specs.scenario import Replicate
from harness.training.loop import predict

TESTS = Path(__file__).parent
PLUGINS = ["cheats.py", "memorised.py"]
MEASURED = ["no-op", "collapse", "over-forget", "vanishing-margin", "offset"]
WRAPPED = ["constant-margin", *("-".join(["look-up", *way.split()]) for way in DISGUISES)]


def ran(*methods, scenario, workers, protocols=(), store="runs"):
    words = ["run", *methods, "--scenario", scenario, "--workers", workers, "--defaults"]
    words += [
        "--device",
        "cpu",
        "--store",
        store,
        *(["--protocols", *protocols] if protocols else []),
    ]
    return main([*words, "-p", PLUGINS[0], "-p", PLUGINS[1]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a store in which all cheats were run."""
    found = tmp_path_factory.mktemp("cheats")
    for name in PLUGINS:
        shutil.copy(TESTS / "fixtures" / name, found)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(found)
        methods = [*MEASURED, "second-retrain"]
        assert ran(*methods, scenario="memorised", workers="0", protocols=PROTOCOLS) == 0
        assert ran(*WRAPPED, "no-op", scenario="memorised-alone", workers="1") == 0
    return found


@pytest.fixture
def inside(folder, monkeypatch):
    """That folder, as the working directory."""
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def measured(folder):
    """(Scenario, method) → metric → the estimates of its runs."""
    store = Store(folder / "runs")
    runs = {key: store.read("runs", key).facts["line"] for key in store.keys("runs")}
    found = {}
    for key in store.keys("measurements"):
        line = store.read("measurements", key).facts["line"]
        run = runs[line["run_id"]]
        own = found.setdefault((run["scenario"]["name"], run["method"]), {})
        for metric, estimate in line["estimates"].items():
            own.setdefault(f"{line['protocol']}.{metric}", []).append(estimate)
    return found


def seen(measured, method):
    return given_away(measured["memorised", method], measured["memorised", "retrain"])


def test_a_second_retrained_model_is_within_the_noise_floor_of_every_protocol(measured):
    assert seen(measured, "second-retrain") == set()


def test_the_original_is_seen_by_everything_but_what_both_kinds_of_model_do_as_well(measured):
    away = seen(measured, "no-op")

    assert away == WATCHED - {"accuracy.retain", "accuracy.test", "rmia.rt-auc"}


def test_a_no_op_is_the_original(measured):
    assert measured["memorised", "no-op"] == measured["memorised", "original"]


def test_over_forgetting_is_below_guessing_and_replays_find_it_best(measured):
    found = measured["memorised", "over-forget"]

    assert {"accuracy.forget", "u-lira.auc"} | FT | KLOM | ENSEMBLES <= seen(
        measured, "over-forget"
    )
    assert all(found[name][0]["high"] < 40 for name in FT)
    assert found["u-lira.auc"][0]["low"] > 90


def test_a_collapse_passes_the_attacks_on_forget_and_test_set_alone(measured):
    away = seen(measured, "collapse")

    assert away >= ACCURACIES | KLOM | ENSEMBLES
    assert {"confidence-mia.svc", "rmia.fr-auc", "rmia.rt-auc"} <= away
    assert not away & {"loss-mia.auc", "lira.ft-auc", "u-lira.auc"}


def test_a_vanishing_margin_passes_them_too_and_keeps_the_originals_predictions(measured):
    away = seen(measured, "vanishing-margin")
    found, original = (measured["memorised", name] for name in ("vanishing-margin", "original"))

    assert all(found[name] == original[name] for name in ACCURACIES)
    assert {"accuracy.forget", "confidence-mia.svc", "rmia.fr-auc", "rmia.rt-auc"} <= away
    assert away >= KLOM | ENSEMBLES
    assert not away & {"loss-mia.auc", "lira.ft-auc", "u-lira.auc", "accuracy.test"}


def test_logits_with_an_offset_are_seen_by_replays_as_those_without(measured):
    found, original = (measured["memorised", name] for name in ("offset", "no-op"))

    for name in ("u-lira.auc", "loss-mia.auc", "klom.forget"):
        assert found[name][0]["value"] == pytest.approx(original[name][0]["value"], abs=0.5)


def test_only_the_second_retrained_model_has_the_average_gap_of_the_noise_floor(inside):
    assert main(["leaderboard"]) == 0

    page = (inside / "leaderboards" / "memorised.md").read_text(encoding="utf-8")
    gaps = {
        name: float(cells(page, name)["Average gap"].split()[0])
        for name in (*MEASURED, "second-retrain", "retrain")
    }
    assert gaps["second-retrain"] < 2 * gaps["retrain"]
    assert min(gaps[name] for name in MEASURED) > 4 * gaps["retrain"]


REASONS = {
    "constant-margin": "it returned a ConstantMargin",
    "look-up": "it returned a LookUp",
    "look-up-hooked": "it left a hook on the model",
    "look-up-overridden": "it replaced forward of the model",
    "look-up-renamed": "it returned a Normalised; expected the original's",
    "look-up-compiled": "its model's logits differ from those of a fresh network",
    "look-up-patched": "its model's logits differ from those of a fresh network",
}


@pytest.mark.parametrize("method", REASONS)
def test_a_model_that_its_weights_do_not_determine_is_not_measured(folder, measured, method):
    facts = [json.loads(path.read_text()) for path in folder.glob("runs/*/*/facts.json")]
    reasons = [each["changed"] for each in facts if each.get("changed") and is_of(each, method)]

    assert any(reason.startswith(REASONS[method]) for reason in reasons)
    own = measured["memorised-alone", method]
    assert {each["value"] for estimates in own.values() for each in estimates} == {None}


def test_a_patched_class_answers_for_no_other_model_of_the_same_process(inside):
    methods = ("look-up-patched", "no-op")

    assert ran(*methods, scenario="memorised-alone", workers="0", store="one-process") == 0

    store = Store(Path("one-process"))
    facts = {
        f["run"].split()[0]: f
        for f in (store.read("logits", k).facts for k in store.keys("logits"))
    }
    assert "differ from those of a fresh network" in facts["look-up-patched"]["changed"]
    assert facts["no-op"]["digest"] == facts["original"]["digest"]


def is_of(facts, method):
    return facts["run"].split()[0] == method


def test_a_look_up_that_sleeps_during_the_check_is_measured_by_its_weights_alone(measured):
    own = measured["memorised-alone", "look-up-asleep"]

    assert own == measured["memorised-alone", "no-op"]


@pytest.fixture(scope="module")
def world(folder):
    """The workspace, and (method, protocol) → the step and its evidence."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        catalog = load_catalog(PLUGINS)
        workspace = Workspace(Store(Path("runs")), catalog, Path("data"), torch.device("cpu"))
        scenario = catalog.scenarios["memorised"]
        methods = [catalog.methods[name] for name in ("no-op", "second-retrain")]
        problem = Problem(
            scenario,
            [Replicate(0, 0)],
            [Entrant(method, method.config) for method in methods],
            audit_of(scenario, catalog, only=PROTOCOLS),
        )
        fingerprint = workspace.dataset("noisy-set").fingerprint
        found = {}
        for step in make_plan([problem], catalog, {"noisy-set": fingerprint}).steps:
            if step.protocol and step.run.method in ("no-op", "second-retrain"):
                recorded = workspace.store.read(*step.needs[0]).facts
                evidence = evidence_of(step, recorded, workspace)
                found[step.run.method, step.protocol.name] = step, evidence
    return workspace, found


def behind(interface, world):
    """Metric → the estimates of the original behind an interface."""
    _, found = world
    estimates = {}
    for name in PROTOCOLS:
        step, evidence = found["no-op", name]
        _, retrained = found["second-retrain", name]
        for metric, each in checked(step.protocol, interface(evidence, retrained)).items():
            estimates[f"{name}.{metric}"] = [vars(each)]
    return estimates


def test_predictions_without_confidence_still_tell_right_from_wrong(world, measured):
    found = behind(with_constant_margins, world)

    away = given_away(found, measured["memorised", "retrain"])
    assert {"accuracy.forget", "loss-mia.auc", "rmia.ft-auc", "lira.ft-auc"} <= away
    assert {"u-lira.auc", "forgetting-quality.score"} | KLOM <= away
    # all that is left is whether a prediction is right
    share = {name: found[f"accuracy.{name}"][0]["value"] for name in ("forget", "test")}
    assert found["loss-mia.auc"][0]["value"] == pytest.approx(
        50 + (share["forget"] - share["test"]) / 2, abs=3
    )


def test_a_look_up_behind_an_interface_passes_every_attack_on_the_forgotten_images(world, measured):
    found = behind(with_look_up, world)

    away = given_away(found, measured["memorised", "retrain"])
    assert not away & (FT | ACCURACIES | ENSEMBLES | {"confidence-mia.svc", "rmia.fr-auc"})
    assert found["u-lira.auc"][0]["value"] < 60
    assert {"klom.retain", "klom.test"} <= away  # there it is the original


def test_a_look_up_is_seen_on_images_one_grey_level_away(world, measured):
    workspace, found = world
    step, evidence = found["no-op", "loss-mia"]
    data = workspace.dataset("noisy-set")
    rows = split_of(step.run, workspace)
    forget, test = data.train.select(rows.forget), data.test.select(rows.test)
    original = workspace.models(step.run.scenario).network.loaded(
        _weights(model_of(workspace, "no-op"), workspace)
    )
    _, retrained = found["second-retrain", "loss-mia"]
    model = LookUp(original, Answers(forget, retrained.target.forget))

    def auc(moved):
        forgotten, unseen = (predict(model, near(each, moved)) for each in (forget, test))
        target = replace(evidence.target, forget=forgotten, test=unseen)
        return checked(step.protocol, replace(evidence, target=target))["auc"].value

    exact = checked(step.protocol, with_look_up(evidence, retrained))["auc"].value
    assert auc(0) == pytest.approx(exact, abs=0.1)
    assert auc(1) == pytest.approx(
        measured["memorised", "original"]["loss-mia.auc"][0]["value"], abs=1
    )


def near(data, moved):
    """The images, each pixel brighter by some grey levels."""
    return Data.of(data.images + moved, data.labels)


def model_of(workspace, method):
    """The first replicate's model."""
    store = workspace.store
    name = f"{method} · memorised · seed 0"
    return next(
        StepId("models", key)
        for key in store.keys("models")
        if store.read("models", key).facts["run"] == name
    )
