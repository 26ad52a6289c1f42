"""Every verb explains its arguments, and an option means the same for every verb."""

import pytest

from harness.cli import main
from harness.commands.options import DATA, DEVICE, OUT, PLUGINS, STEP_TIMEOUT, STORE
from harness.commands.verbs import VERBS

ALL = [(name, argument) for name, verb in VERBS.items() for argument in verb.arguments()]


@pytest.mark.parametrize(("name", "argument"), ALL, ids=lambda each: getattr(each, "name", each))
def test_every_argument_is_explained_and_an_option_says_its_default(name, argument):
    takes_a_value = argument.is_option and "metavar" in argument.settings
    may_be_repeated = argument.settings.get("action") in ("append", "extend")
    has_no_default = may_be_repeated or argument.name in ("--backbone", "--dataset", "--recipe")

    assert len(argument.explanation.split()) > 3
    assert argument.explanation[0].islower()
    if takes_a_value and not has_no_default:
        said = "(required)" if argument.settings.get("required") else "(default: "
        assert said in argument.explanation


@pytest.mark.parametrize("name", VERBS)
def test_the_help_of_a_verb_explains_every_argument(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")

    status = main([name, "--help"])

    out = capsys.readouterr().out
    assert status == 0
    assert VERBS[name].summary in out
    for heading in VERBS[name].groups:
        assert f"\n{heading}:\n" in out
    for argument in VERBS[name].arguments():
        assert argument.explanation in out


def test_the_help_of_the_program_lists_every_verb_with_its_summary(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")

    status = main(["--help"])

    words = " ".join(capsys.readouterr().out.split())
    assert status == 0
    for name, verb in VERBS.items():
        assert f" {name} {verb.summary} " in words


@pytest.mark.parametrize("option", [STORE, OUT, DATA, PLUGINS, DEVICE, STEP_TIMEOUT])
def test_an_option_means_the_same_for_every_verb(option):
    found = [argument for _, argument in ALL if argument.name == option.name]

    assert len(found) >= 3
    assert all(argument is option for argument in found)


@pytest.mark.parametrize("name", ["run", "tune", "measure", "leaderboard", "show", "doctor"])
def test_every_verb_that_reads_runs_takes_a_store_and_plugins(name):
    assert {STORE.name, PLUGINS.name} <= {each.name for each in VERBS[name].arguments()}


@pytest.mark.parametrize("words", ["leaderboard", "show 1", "list", "run", "measure"])
def test_every_verb_loads_the_plugins_given_to_it(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loud.py").write_text("raise RuntimeError('it was loaded')")

    status = main([*words.split(), "-p", "loud.py"])

    expected = "unlearn: plugin 'loud.py': its import failed: RuntimeError: it was loaded"
    assert status == 2
    assert expected in capsys.readouterr().err
