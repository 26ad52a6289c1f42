"""Pools are planned once, trained model by model, and give protocols the evidence they need."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.plugins.catalog import load_catalog
from harness.records.store import Store
from harness.runs.audit import Audit, audit_of
from harness.runs.plan import Entrant, Problem, make_plan
from harness.runs.wanted import crossed_pairs
from harness.specs.protocol import Protocol
from harness.specs.scenario import Replicate

TESTS = Path(__file__).parents[1]
PLUGINS = ("-p", "tiny_plugin.py", "-p", "audited_plugin.py")


def copied(folder):
    for name in ("tiny", "audited"):
        shutil.copy(TESTS / "fixtures" / f"{name}.py", folder / f"{name}_plugin.py")


def ran(*words, workers="0", scenario="pooled"):
    run = ["run", *words, "--scenario", scenario, "--defaults", "--device", "cpu"]
    return main([*run, "--workers", workers, *PLUGINS])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a store in which one replicate was run with a pool of four."""
    folder = tmp_path_factory.mktemp("made")
    copied(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert ran("finetune", scenario="pooled") == 0
    return folder


@pytest.fixture
def store(made, tmp_path, monkeypatch):
    """A copy of that store, in the working directory."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Store(Path("runs"))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("catalog")
    copied(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return load_catalog(["tiny_plugin.py", "audited_plugin.py"])


def planned(catalog, *names, needs=("references",), pool=4, scenarios=None):
    """The plan of fine-tuning in these scenarios, measured by one protocol."""
    protocol = Protocol("p", 1, catalog.protocols["toy-references"].metrics, len, needs=set(needs))
    method = catalog.methods["finetune"]
    problems = [
        Problem(
            each,
            crossed_pairs(each.crossed) if each.crossed else [Replicate(0, 0), Replicate(1, 1)],
            [Entrant(method, method.config)],
            Audit((protocol,), pool),
        )
        for each in scenarios or [catalog.scenarios[name] for name in names]
    ]
    return make_plan(problems, catalog, {"tiny-set": "f"})


def kinds(plan, kind):
    return [step for step in plan.steps if step.id.kind == kind]


def test_scenarios_with_the_same_data_backbone_and_recipe_share_one_pool(catalog):
    alone = planned(catalog, "pooled")
    plan = planned(catalog, "pooled", "pooled-blind", "pooled-class")

    assert len(kinds(alone, "stacks")) == len(kinds(plan, "stacks")) == 1
    assert sum(step.run.half is not None for step in kinds(plan, "models")) == 4


@pytest.mark.parametrize(
    ("needs", "stacks", "halves"),
    [
        (("references",), 1, 4),
        (("replays",), 3, 12),  # the originals' are the pool
        (("references", "replays"), 3, 12),
        (("ensembles",), 4, 0),
    ],
)
def test_each_need_has_its_models_in_the_plan(catalog, needs, stacks, halves):
    plan = planned(catalog, "pooled", needs=needs)

    assert len(kinds(plan, "stacks")) == stacks
    assert sum(step.run.half is not None for step in kinds(plan, "models")) == halves
    done = set()
    for step in plan.steps:
        done.add(step.id)
        if step.id.kind in ("models", "logits", "stacks"):
            assert done.issuperset(step.needs)


def test_ensembles_reuse_the_originals_and_retrained_models_of_the_replicates(catalog):
    without = planned(catalog, "pooled", needs=())
    plan = planned(catalog, "pooled", needs=("ensembles",))

    added = {step.id for step in kinds(plan, "models")} - {s.id for s in kinds(without, "models")}
    # of retraining, two ensembles of two are four models; fine-tuning forgets the first forget
    # set from the second original, too
    assert len(added) == 2
    assert {str(step.run) for step in kinds(plan, "models") if step.id in added} == {
        "retrain 4 · pooled · seed 0",
        "finetune · pooled · seed 1, forget seed 0",
    }


def test_measurements_without_further_models_keep_their_keys_and_others_name_their_pool(catalog):
    def keys(needs, pool):
        plan = planned(catalog, "pooled", needs=needs, pool=pool)
        return [step.id for step in kinds(plan, "measurements")]

    assert keys((), 4) == keys((), 0)
    assert not {*keys(("references",), 4)} & {*keys(("references",), 6), *keys((), 4)}


def test_replays_of_crossed_scenarios_with_other_first_seeds_are_other_models(catalog):
    crossed = catalog.scenarios["pooled-crossed"]
    other = replace(crossed, name="other", crossed=(5, 3))

    plan = planned(catalog, needs=("replays",), scenarios=[crossed, other])

    replays = [s for s in kinds(plan, "models") if s.run.half is not None]
    assert len(replays) == 4 + 2 * 2 * 4  # one pool; and of each scenario, two methods' replays


def test_a_scenario_measures_its_own_protocols_and_those_that_are_added(catalog):
    names = ["toy-references", "toy-replays", "toy-ensembles"]
    toys = {name: catalog.protocols[name] for name in names}
    toy = replace(catalog, protocols=toys)
    pooled = catalog.scenarios["pooled"]

    def measured(**asked):
        audit = audit_of(asked.pop("scenario", pooled), toy, **asked)
        return [protocol.name for protocol in audit.protocols], audit.pool

    assert measured() == (["toy-references"], 4)
    assert measured(scenario=replace(pooled, pool=0)) == ([], 0)
    assert measured(added=["toy-ensembles"]) == (["toy-references", "toy-ensembles"], 4)
    assert measured(only=["toy-replays"], pool=6) == (["toy-replays"], 6)
    assert measured(only=["toy-replays"], scenario=replace(pooled, pool=0)) == (["toy-replays"], 16)


def test_a_second_command_does_nothing(store, capsys):
    assert ran("finetune") == 0

    out = capsys.readouterr().out
    assert "did 0 models, 0 logits, 0 stacks, 0 runs, 0 measurements" in out


def test_one_pool_models_lost_logits_are_made_again_without_training(store, capsys):
    (stack,) = store.keys("stacks")
    before = store.read("stacks", stack).facts["digest"]
    half = next(
        k for k in store.keys("logits") if "pool model" in store.read("logits", k).facts["run"]
    )
    store.discard("logits", half)

    assert ran("finetune") == 0

    out = capsys.readouterr().out
    assert "did 0 models, 1 logits, 1 stacks, 0 runs, " in out
    assert store.read("stacks", stack).facts["digest"] == before


@pytest.mark.parametrize("change", [{"recipe": "another"}, {"stacked": ["other"] * 4}])
def test_a_stack_of_other_models_is_stacked_again(store, capsys, change):
    (stack,) = store.keys("stacks")
    own = store.read("stacks", stack)
    store.write("stacks", stack, {**own.facts, **change}, own.tensors)

    assert ran("finetune") == 0

    assert "did 0 models, 0 logits, 1 stacks, 0 runs, " in capsys.readouterr().out


def last_line(capsys):
    return capsys.readouterr().err.splitlines()[-1]


def measured(*words):
    return main(["measure", "--workers", "0", "--device", "cpu", *words, *PLUGINS])


def remeasured(store):
    for key in store.keys("measurements"):
        if store.read("measurements", key).facts["line"]["protocol"] == "toy-references":
            store.discard("measurements", key)


def test_measure_refuses_reference_models_of_another_recipe_in_one_line(store, capsys):
    remeasured(store)
    (stack,) = store.keys("stacks")
    own = store.read("stacks", stack)
    store.write("stacks", stack, {**own.facts, "recipe": "another"}, own.tensors)

    assert measured("--protocols", "toy-references") == 2

    assert "were trained on other data, with another backbone or by another recipe" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("kept", ["stacks", "logits"])
def test_measure_uses_a_pool_of_which_only_stack_or_only_logits_are_left(store, capsys, kept):
    remeasured(store)
    for kind in {"models", "logits", "stacks"} - {kept}:
        for key in store.keys(kind):
            if "pool model" in store.read(kind, key).facts["run"]:
                store.discard(kind, key)

    assert measured("--protocols", "toy-references") == 0

    assert "measured 5 of 5" in capsys.readouterr().out


def test_measure_says_in_one_line_what_is_lacking_only_if_it_was_asked_for(store, capsys):
    assert measured("--protocols", "toy-replays") == 0
    asked = capsys.readouterr()
    assert measured() == 0
    silent = capsys.readouterr()

    assert "protocol 'toy-replays' needs 4 models like finetune · pool model 1 · pooled, of " in (
        asked.err
    )
    assert (
        "store lacks 4; `unlearn run METHOD --scenario pooled --protocols toy-replays --pool 4` "
        "makes them" in asked.err
    )
    assert "toy-replays" not in silent.err


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--protocols", "toy-replay"), "'toy-replays'"), (("--pool", "5"), "the nearest is 6")],
)
def test_an_unknown_protocol_and_an_odd_pool_are_errors_of_one_line(store, capsys, words, message):
    assert measured(*words) == 2

    assert message in last_line(capsys)


def test_a_held_out_scenario_refuses_replays_in_one_line(store, capsys):
    assert ran("finetune", "--protocols", "toy-replays", scenario="pooled-held-out") == 2

    message = last_line(capsys)
    assert message.startswith("unlearn: protocol 'toy-replays' needs references and replays, which")
    assert "it holds out 25% of the train set; choose a scenario with held_out 0" in message


def replays_measured(store):
    """What the protocol with replays found of the method ``troubled``."""
    lines = [store.read("measurements", k).facts["line"] for k in store.keys("measurements")]
    (own,) = (
        line
        for line in lines
        if line["protocol"] == "toy-replays"
        and store.read("runs", line["run_id"]).facts["line"]["method"] == "troubled"
    )
    return own


@pytest.mark.parametrize(
    ("what", "note"), [("diverge", "no finite logits"), ("change", "no finite logits")]
)
def test_a_replay_that_leaves_no_logits_gives_an_estimate_without_a_value(store, what, note):
    words = ("troubled", "--set", f"troubled.what={what}", "--protocols", "toy-replays")

    assert ran(*words) == 0

    own = replays_measured(store)
    assert own["estimates"]["sum"]["value"] is None
    assert note in own["estimates"]["sum"]["note"]
    assert own["pool"]["size"] == 4


def test_a_method_that_raises_on_replays_alone_has_no_failed_run(store, capsys):
    words = ("troubled", "--set", "troubled.what=raise", "--protocols", "toy-replays")

    assert ran(*words) == 1

    assert "no such luck" in capsys.readouterr().err
    assert not store.keys("failures")
    methods = [store.read("runs", k).facts["line"]["method"] for k in store.keys("runs")]
    assert "troubled" in methods
    note = replays_measured(store)["estimates"]["sum"]["note"]
    assert note.startswith("troubled · pool model ")
    assert "no such luck" in note


def test_processes_give_the_same_pool(store, made, tmp_path, monkeypatch):
    (stack,) = store.keys("stacks")
    other = tmp_path / "other"
    other.mkdir()
    copied(other)
    monkeypatch.chdir(other)

    assert ran("finetune", workers="2") == 0

    assert Store(Path("runs")).read("stacks", stack).facts == store.read("stacks", stack).facts
