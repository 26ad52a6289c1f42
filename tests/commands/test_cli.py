"""A user's mistake is one line and exit status 2, with the nearest right answer."""

import pytest

from harness.cli import main

MISTAKES = {
    "": "missing verb: expected one of list, run, ",
    "--verison": "unknown option '--verison'; did you mean '--version'?",
    "--foo run": "unknown option '--foo'",
    "-p plugin.py run": "'-p' must come after the verb, as in `unlearn run -p …`",
    "run --store --device cpu": "--store: expected one argument",
    "rum": "unknown verb 'rum'; did you mean 'run'?",
    "run finetun": "unknown method 'finetun'; did you mean 'finetune'",
    "run --suite digit": "unknown suite 'digit'; did you mean 'digits'",
    "run --scenario digits-random": "did you mean 'digits-random10'",
    "run --suite digits --scenario digits-random10": "exclude each other",
    "run --backbone test_resnett": "unknown backbone 'test_resnett'; did you mean 'test_resnet'",
    "run --backbone resnet188 --dry-run": "unknown backbone 'resnet188'; did you mean",
    "run --backbone test_vit[img_size": "[",
    "run --backbone test_resnet[depth=9]": "test_resnet",
    "run --dataset CIFAR11": "did you mean 'CIFAR10",
    "run --dataset folder:/no/such/folder": "/no/such/folder",
    "run --replicates 0": "expected a whole number from 1 to 1000; got '0'",
    "run --replicates 1000000000": "expected a whole number from 1 to 1000; got '1000000000'",
    "run --replicates many": "expected a whole number from 1 to 1000; got 'many'",
    "run --seed -1": "expected a whole number from 0 to 1000000000; got '-1'",
    "run --replicate 3": "unknown option of `unlearn run` '--replicate'",
    "run --set finetune.lr": "expected METHOD.FIELD=VALUE",
    "run --set finetune.rl=1": "did you mean 'lr'",
    "run --set finetune.lr=fast": "expected a number; got 'fast'",
    "run --set finetune.epochs=1.5": "expected a whole number; got '1.5'",
    "run --set finetun.lr=1": "did you mean 'finetune'",
    "run --set amun.mixture=R": "expected one of R+F+A, R+A, F+A, A; got 'R'",
    "run --set salun.ratio=2": "ratio must be in (0, 1]; got 2",
    "run --again finetun": "did you mean 'finetune'",
    "run --device gpu": "expected cpu, cuda or cuda:N",
    "run --device cuda:99": "CUDA devices; try --device cpu",
    "run --device cpu:7": "only cpu and cuda are supported",
    "run --set finetune.lr=-1": "must not be negative; got",
    "run --set l1-sparse.gamma=-1": "must not be negative; got",
    "run --scenario digits-random10 finetune": "name methods first, as in `run finetune`",
    "run --device meta": "only cpu and cuda are supported",
    "run --store FILE": "is a file; expected a folder",
    "run --data FILE": "is a file; expected a folder",
    "run --workers -1": "expected a whole number from 0 to 256; got '-1'",
    "run -p no_such_plugin": "plugin 'no_such_plugin': its import failed: ModuleNotFoundError",
    "run -p no_such_file.py": "no such file",
    "run -p FILE": "plugin",
    "run --suite": "expected one argument",
    "list methodes": "unknown kind 'methodes'; did you mean 'methods'",
    "list methods extra": "unexpected argument 'extra'; see `unlearn list --help`",
    "show 123": "unknown run '123'",
    "show": "RUN_ID",
    "leaderboard": "nothing to render",
    "leaderboard --check": "nothing to render",
    "leaderboard --out FILE": "is a file; expected a folder",
    "leaderboard --store FILE": "is a file; expected a folder",
    "measure --device gpu": "expected cpu, cuda or cuda:N",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("not python")

    status = main(words.split())

    captured = capsys.readouterr()
    assert status == 2
    assert MISTAKES[words] in captured.err
    assert captured.err.startswith("unlearn: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (tmp_path / "runs" / "models").exists()


ODD_WORDS = {
    ("run", "--store", ""): "an empty word after '--store'",
    ("run", "--out="): "an empty word in '--out='",
    ("leaderboard", "--out", ""): "an empty word after '--out'",
    ("run", "--suite", ""): "an empty word after '--suite'",
    ("run", ""): "an empty word after 'run'",
    ("",): "an empty word comes first",
    ("run", "--set", ""): "an empty word after '--set'",
    ("run", "--set", "="): "expected METHOD.FIELD=VALUE",
    ("run", "--set", "."): "expected METHOD.FIELD=VALUE",
    ("run", "--set", "\n.\n=\n"): "unknown method of this run '\\n'",
    ("run", "--set", "finetune.lr=\n"): "expected a number; got '\\n'",
    ("run", "--set", "finetune.lr=1e305"): "no record holds a number as large as 1e305",
    ("run", "--set", f"finetune.epochs={2**63}"): "no record holds a number as large as",
    ("run", "--set", "finetune.epochs=" + "9" * 5000): "expected a whole number",
    ("run", "a\nb"): "unknown method 'a\\nb'",
    ("run", "-p", "no\n.py"): "no such file: ",
    ("run", "-p", "no\udce9.py"): "no such file: ",
    ("run", "--store", "a" * 300): "File name too long; expected a folder",
    ("run", "--store", "FILE/x"): "Not a directory; expected a folder",
    ("run", "--data", "FILE/../x"): "Not a directory; expected a folder",
    ("show", "1", "--store", "x\n/../FILE"): "unknown run '1'",
    ("leaderboard", "--out", "x\n\x1b[31m"): "in --out x\\n\\x1b[31m;",
    ("run", "--dataset", "folder:\udce9"): "'folder:\\udce9' is not readable as text",
    ("run", "--backbone", "net\udce9"): "'net\\udce9' is not readable as text",
    ("run", "--scenario", "\udce9"): "unknown scenario '\\udce9'",
    ("run", "--\udce9"): "unknown option of `unlearn run` '--\\udce9'",
}


@pytest.mark.parametrize("words", ODD_WORDS, ids=str)
def test_an_odd_word_is_one_line_and_status_2(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("not a folder")

    status = main(words)

    captured = capsys.readouterr()
    assert status == 2
    assert ODD_WORDS[words] in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.rstrip("\n").isprintable()
    assert not (tmp_path / "runs" / "models").exists()


def test_a_relative_path_may_go_up(tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    status = main(["doctor", "--store", "../there/../other"])

    assert status == 0
    assert "0 runs in ../there/../other" in capsys.readouterr().out


def test_a_damaged_record_is_told_with_its_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    records = tmp_path / "leaderboards" / "records"
    records.mkdir(parents=True)
    (records / "s.jsonl").write_text("{\n")

    status = main(["leaderboard"])

    assert status == 2
    assert "s.jsonl, line 1: not a record" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["methods", "backbones", "datasets", "protocols", "scenarios"])
def test_what_is_installed_is_listed_with_its_plugin(kind, capsys):
    assert main(["list", kind]) == 0
    assert capsys.readouterr().out.startswith(kind)


def test_everything_is_listed_without_a_word(capsys):
    main(["list"])

    out = capsys.readouterr().out
    assert "arxiv.org/abs/2503.00917" in out
    assert "digits-random10-forget-only" in out
    assert "timm.list_models()" in out


def test_the_doctor_says_what_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    status = main(["doctor"])

    out = capsys.readouterr().out
    assert status == 0, out
    assert "torch" in out
    assert "no fault found" in out


def test_the_doctor_names_a_plugin_that_failed_and_a_clash(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    info = tmp_path / "other_harness-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-harness\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("harness\n")
    (info / "entry_points.txt").write_text("[unlearning]\nplugin = no_such_module\n")

    status = main(["doctor"])

    out = capsys.readouterr().out
    assert status == 1
    assert "'harness' is also installed by other-harness" in out
    assert "other-harness:plugin is left out: its import failed" in out


def test_a_verb_explains_itself(capsys):
    status = main(["run", "--help"])

    assert status == 0
    assert "--replicates" in capsys.readouterr().out
