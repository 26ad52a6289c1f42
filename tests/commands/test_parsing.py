"""A user's mistake is a one-line error with the closest match, and exit status 2."""

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
    "show 123": "no run id begins with '123'",
    "show": "RUN_ID",
    "leaderboard": "nothing to render",
    "leaderboard --check": "nothing to render",
    "leaderboard --out FILE": "is a file; expected a folder",
    "leaderboard --store FILE": "is a file; expected a folder",
    "measure --device gpu": "expected cpu, cuda or cuda:N",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_gives_a_one_line_error_and_status_2(words, tmp_path, monkeypatch, capsys):
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


UNUSUAL_WORDS = {
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
    ("run", "--set", "finetune.lr=1e305"): "no record can contain a number as large as 1e305",
    ("run", "--set", f"finetune.epochs={2**63}"): "no record can contain a number as large as",
    ("run", "--set", "finetune.epochs=" + "9" * 5000): "expected a whole number",
    ("run", "a\nb"): "unknown method 'a\\nb'",
    ("run", "-p", "no\n.py"): "no such file: ",
    ("run", "-p", "no\udce9.py"): "no such file: ",
    ("run", "--store", "a" * 300): "File name too long; expected a folder",
    ("run", "--store", "FILE/x"): "Not a directory; expected a folder",
    ("run", "--data", "FILE/../x"): "Not a directory; expected a folder",
    ("show", "1", "--store", "x\n/../FILE"): "no run id begins with '1'",
    ("leaderboard", "--out", "x\n\x1b[31m"): "in --out x\\n\\x1b[31m;",
    ("run", "--dataset", "folder:\udce9"): "'folder:\\udce9' is not readable as text",
    ("run", "--backbone", "net\udce9"): "'net\\udce9' is not readable as text",
    ("run", "--scenario", "\udce9"): "unknown scenario '\\udce9'",
    ("run", "--\udce9"): "unknown option of `unlearn run` '--\\udce9'",
}


@pytest.mark.parametrize("words", UNUSUAL_WORDS, ids=str)
def test_an_unusual_word_gives_a_one_line_error_and_status_2(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("not a folder")

    status = main(words)

    captured = capsys.readouterr()
    assert status == 2
    assert UNUSUAL_WORDS[words] in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.rstrip("\n").isprintable()
    assert not (tmp_path / "runs" / "models").exists()
