"""Files of tuned settings: written by many commands, read with clear errors, dated by source."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from harness import UserError
from harness.plugins.catalog import load_catalog
from harness.records.tuned import Trial, Tuning, read, tuning_of, tuning_problem, write
from harness.specs.forgetting import WholeClass

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def catalog():
    return load_catalog([str(TESTS / "fixtures" / "tiny.py")])


def test_tuned_settings_are_read_as_they_were_written(tmp_path):
    trials = (Trial({"lr": 0.1}, 2.5, 30.0), Trial({"lr": 0.2}, None, 9.0, "over the budget"))
    tunings = {"b": Tuning("abc", 1, trials), "a": Tuning("def", 2, trials[1:])}

    write(tmp_path, "s", tunings)

    assert read(tmp_path, "s") == tunings
    assert tuning_of(asdict(tunings["b"])) == tunings["b"]
    assert read(tmp_path, "other") == {}
    assert json.loads((tmp_path / "s.json").read_text())["b"]["settings"] == {"lr": 0.1}


FIRST, SECOND, THIRD = (
    Trial({"lr": 0.1}, 3.0, 1.0),
    Trial({"lr": 0.2}, None, 2.0, "over the budget"),
    Trial({"lr": 0.3}, 1.0, 4.0),
)


def test_the_confirmed_gap_chooses_the_settings_and_its_cost_counts(tmp_path):
    fresh = (replace(FIRST, gap=2.0), replace(THIRD, gap=2.5))
    tuning = Tuning("x", 1, (FIRST, SECOND, THIRD), confirmed=fresh)

    write(tmp_path, "s", {"m": tuning})

    entry = json.loads((tmp_path / "s.json").read_text())["m"]
    assert read(tmp_path, "s") == {"m": tuning}
    assert (entry["settings"], entry["gap"]) == ({"lr": 0.1}, 2.0)
    assert (tuning.best, tuning.defaults) == (fresh[0], fresh[0])
    assert tuning.passes == 1 + 2 + 4 + 1 + 4
    assert [tuning.gap_after(count) for count in (1, 2, 3, 20)] == [3.0, 3.0, 1.0, 1.0]


def test_settings_of_an_earlier_version_are_written_without_a_confirmation(tmp_path):
    write(tmp_path, "s", {"m": Tuning("x", 1, (FIRST, THIRD))})

    assert "confirmed" not in json.loads((tmp_path / "s.json").read_text())["m"]
    assert read(tmp_path, "s")["m"].defaults is None


def test_the_defaults_and_the_best_few_settings_are_confirmed_once_each():
    tuning = Tuning("x", 1, (FIRST, SECOND, THIRD, replace(THIRD, gap=1.5), SECOND))

    assert tuning.candidates(3) == [FIRST, THIRD]
    assert Tuning("x", 1, (SECOND, THIRD, FIRST)).candidates(1) == [THIRD]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "AttributeError"),
        ("{", "JSONDecodeError"),
        ('{"a": {}, "a": {}}', "'a' occurs twice"),
        ('{"a": {"gap": NaN}}', "NaN is not a valid JSON number"),
    ],
)
def test_a_file_of_anything_else_is_a_one_line_error(tmp_path, text, reason):
    (tmp_path / "s.json").write_text(text)

    with pytest.raises(UserError, match="not a file of tuned settings") as error:
        read(tmp_path, "s")

    assert reason in str(error.value)


TRIAL = {"settings": {"lr": 0.5}, "gap": 1.0, "passes": 9.0, "note": ""}
ENTRY = {"settings": {"lr": 0.5}, "gap": 1.0, "source": "x", "replicates": 1, "trials": [TRIAL]}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({**ENTRY, "sampler": "new"}, "unknown field 'sampler', perhaps of a newer version"),
        ({**ENTRY, "trials": [{**TRIAL, "seconds": 1.0}]}, "unknown field 'seconds'"),
        ({**ENTRY, "confirmed": [{**TRIAL, "seconds": 1.0}]}, "unknown field 'seconds'"),
        ({**ENTRY, "confirmed": [{**TRIAL, "gap": 3.0}]}, "not those of its best trial"),
        ({**ENTRY, "settings": {"lr": 0.7}}, "not those of its best trial"),
        ({**ENTRY, "trials": []}, "expected at least one trial"),
        ({**ENTRY, "replicates": "1"}, "Expected `int`, got `str` - at `$.replicates`"),
        (
            {**ENTRY, "trials": [{**TRIAL, "gap": -1.0}]},
            "gap must be a finite number of",
        ),
        (
            {name: ENTRY[name] for name in ENTRY if name != "source"},
            "missing required field `source`",
        ),
        ([], "expected an object; got []"),
    ],
)
def test_an_unreadable_entry_is_kept_and_named(unlearn, work, entry, reason):
    folder = work / "leaderboards" / "tuned"
    folder.mkdir(parents=True)
    (folder / "tiny.json").write_text(json.dumps({"finetune": entry}))

    write(folder, "tiny", {"salun": Tuning("y", 1, (Trial({"lr": 0.1}, 2.5, 30.0),))})
    status, _, err = unlearn("run", "finetune", "--scenario", "tiny", "--dry-run")

    assert json.loads((folder / "tiny.json").read_text())["finetune"] == entry
    assert read(folder, "tiny")["salun"].best.gap == 2.5
    assert (status, err.count("\n")) == (2, 1)
    assert f"the settings tuned for 'finetune' cannot be read ({reason}" in err or reason in err
    assert "run `unlearn tune finetune` again, or `unlearn run --defaults`" in err


def test_commands_writing_at_the_same_time_lose_no_settings(tmp_path):
    names = [f"method-{i}" for i in range(24)]

    def put(name):
        write(tmp_path, "s", {name: Tuning(name, 1, (Trial({"lr": 0.5}, 1.0, 9.0),))})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, names))

    assert {name: tuning.source for name, tuning in read(tmp_path, "s").items()} == {
        name: name for name in names
    }


@pytest.mark.parametrize(
    ("source", "problem", "chosen"),
    [
        ("now", "now", "tuned, 2 trials"),
        ("then", "now", "tuned, 2 trials, of an earlier source"),
        ("now", "then", "tuned, 2 trials, of an earlier definition"),
        ("then", "then", "tuned, 2 trials, of an earlier source and definition"),
        ("now", "", "tuned, 2 trials, of an unknown definition"),
        ("then", "", "tuned, 2 trials, of an earlier source and an unknown definition"),
    ],
)
def test_a_tuning_says_whether_it_is_outdated(source, problem, chosen):
    tuning = Tuning(source, 1, (Trial({}, 1.0, 1.0), Trial({}, 2.0, 1.0)), problem)

    assert tuning.chosen("now", "now") == chosen
    assert tuning.chosen("now", "now", "t") == chosen.replace("tuned, ", "tuned on t, ")


def test_a_tuning_is_outdated_when_the_scenarios_definition_changes(catalog):
    tiny = catalog.scenarios["tiny"]
    now = tuning_problem(tiny, "data", "net")

    others = [
        tuning_problem(replace(tiny, recipe=replace(tiny.recipe, lr=0.2)), "data", "net"),
        tuning_problem(replace(tiny, forget=WholeClass(1)), "data", "net"),
        tuning_problem(replace(tiny, retain_access=0.1), "data", "net"),
        tuning_problem(replace(tiny, mia="entropy_mia.auc"), "data", "net"),
        tuning_problem(replace(tiny, held_out=0.1), "data", "net"),
        tuning_problem(replace(tiny, tuning=0.25), "data", "net"),
        tuning_problem(tiny, "other data", "net"),
        tuning_problem(tiny, "data", "other net"),
    ]
    assert len({now, *others}) == 1 + len(others)
    assert tuning_problem(replace(tiny, name="other", replicates=9), "data", "net") == now
