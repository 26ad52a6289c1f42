"""What commands report about the data they found, and how pages name a class."""

import json

import numpy as np
import pytest
from PIL import Image

PLUGIN = """
from dataclasses import replace
import torch
from harness import (ClassFraction, Data, Dataset, GivenRows, RandomFraction, Recipe, Scenario,
                     WholeClass, hookimpl)

BASE = Scenario(name="base", dataset="named", backbone="tiny-net", recipe=Recipe(1, 0.1),
                forget=RandomFraction(0.25), replicates=1)

def load(_root):
    images = torch.arange(60 * 64).reshape(60, 1, 8, 8).remainder(251).to(torch.uint8)
    data = Data.of(images, torch.arange(60) % 3, classes={names})
    return data.select(torch.arange(40)), data.select(torch.arange(40, 60))

@hookimpl
def unlearning_datasets():
    return [Dataset("named", load)]

@hookimpl
def unlearning_scenarios():
    rules = {rules}
    return [replace(BASE, name=name, forget=rule) for name, rule in rules.items()]
"""


def plugin(work, rules, names=("cat", "dog", "emu")):
    text = PLUGIN.replace("{names}", repr(names)).replace("{rules}", rules)
    (work / "mine.py").write_text(text)
    return "-p", "mine.py"


def test_a_run_describes_its_data_before_training_and_the_page_names_the_class(unlearn, work):
    words = plugin(work, '{"whole": WholeClass(2), "half": ClassFraction(1, 0.5)}')

    status, out, _ = unlearn("run", "finetune", "--scenario", "whole", "half", *words)
    unlearn("leaderboard")

    found = "named: 40 train and 20 test images of 3 classes (cat, dog, emu), 8x8 grey"
    assert status == 0
    assert out.splitlines()[0] == found
    assert out.count(found) == 1
    page = (work / "leaderboards" / "whole.md").read_text()
    assert "Forget class 2 (`emu`)." in page
    assert "Forget 50% of class 1 (`dog`)." in (work / "leaderboards" / "half.md").read_text()
    assert "[Forget class 2 (`emu`)](whole.md)" in (work / "leaderboards/finetune.md").read_text()
    lines = (work / "leaderboards" / "records" / "whole.jsonl").read_text().splitlines()
    runs = [line for line in map(json.loads, lines) if line["kind"] == "run"]
    assert {run["scenario"]["class_name"] for run in runs} == {"emu"}


def test_renamed_classes_cause_no_new_runs(unlearn, work):
    rules = '{"whole": WholeClass(2)}'
    words = plugin(work, rules)
    unlearn("run", "finetune", "--scenario", "whole", *words)

    words = plugin(work, rules, ("Katze", "Hund", "Emu"))
    _, out, _ = unlearn("run", "finetune", "--scenario", "whole", *words)

    assert "did 0 models, 0 logits, 0 runs" in out


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            '{"s": WholeClass(14)}',
            (
                "scenario 's' forgets class 14, which data set 'named' lacks; its classes are cat, "
                "dog, emu"
            ),
        ),
        (
            '{"s": GivenRows((3, 40))}',
            "1 of them are not in [0, 40), the train set of 'named', such as 40",
        ),
        (
            '{"s": RandomFraction(0.005)}',
            "a random 0.5%) selected no rows; expected 1 to 39 of 40",
        ),
    ],
)
def test_a_scenario_that_the_data_cannot_satisfy_stops_a_run_in_one_line_before_training(
    unlearn, work, rules, message
):
    status, _out, err = unlearn("run", "finetune", "--scenario", "s", *plugin(work, rules))

    assert status == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (work / "runs").exists()


def test_rows_given_as_a_tensor_are_all_forgotten_and_counted(unlearn, work):
    words = plugin(work, '{"rows": GivenRows(torch.tensor([7, 3, 5]))}')

    status, _, _ = unlearn("run", "finetune", "--scenario", "rows", *words)
    unlearn("leaderboard")

    assert status == 0
    assert "Forget 3 given images." in (work / "leaderboards" / "rows.md").read_text()


def test_the_doctor_lists_the_classes_of_a_folder(unlearn, work):
    for label in range(11):
        (work / "pets" / str(label)).mkdir(parents=True)
        for row in range(3):
            pixels = np.full((4, 4), label, np.uint8)
            Image.fromarray(pixels).save(work / "pets" / str(label) / f"{row}.png")
    (work / "pets" / ".DS_Store").write_bytes(b"x")

    _, out, _ = unlearn("doctor", "--dataset", "folder:pets")

    assert "folder:pets: 22 train and 11 test images of 11 classes (0 to 10), 4x4 grey" in out
    assert "folder:pets: 1 left out, hidden: .DS_Store" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["3", "3", "2", "1"] in rows
    assert ["10", "10", "2", "1"] in rows


def test_the_doctor_counts_an_unreadable_data_set_as_a_fault(unlearn):
    status, out, _ = unlearn("doctor", "--dataset", "folder:nowhere")

    assert status == 1
    assert "fault: folder:nowhere: there is no folder" in out


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "text"])
def test_a_setting_that_no_record_can_store_gives_a_one_line_error(unlearn, value):
    words = "run", "finetune", "--scenario", "tiny", "--set", f"finetune.lr={value}"

    status, _, err = unlearn(*words)

    assert status == 2
    assert err.startswith(f"unlearn: --set finetune.lr={value}: ")
    assert len(err.splitlines()) == 1


def test_a_tuned_file_with_nan_gives_a_one_line_error(unlearn, work):
    tuned = work / "leaderboards" / "tuned"
    tuned.mkdir(parents=True)
    trial = {"settings": {"lr": float("nan")}, "gap": 1.0, "passes": 1.0, "note": ""}
    tuning = {"settings": {}, "gap": 1.0, "source": "x", "replicates": 1, "trials": [trial]}
    (tuned / "tiny.json").write_text(json.dumps({"finetune": tuning}))

    status, _, err = unlearn("run", "finetune", "--scenario", "tiny")

    assert status == 2
    assert "nan" in err.lower()
    assert len(err.splitlines()) == 1
