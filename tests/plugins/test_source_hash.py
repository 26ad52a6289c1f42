"""A method's identity: its own source, the sources it imports, and the values that it holds."""

import functools
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import FineTuning, UserError
from harness.plugins.catalog import load_catalog
from harness.plugins.modules import begin, load_file, load_named, text_of
from harness.plugins.source_hash import method_hash, method_source, source_hash, source_of

ROOT = Path(__file__).parents[2]
OURS = ("amun_plugin", "baselines")

METHOD = """
from dataclasses import dataclass
from harness import Method, hookimpl
{imports}

@dataclass(frozen=True)
class Config:
    lr: float = 0.1

def unlearn(task, config):
    {body}

@hookimpl
def unlearning_methods():
    return [Method({name!r}, unlearn, Config())]
"""


LATE = "def unlearn(task, config):\n    import rates\n    return rates.LR"


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A function that writes files and loads the first as ``-p`` would, from an empty directory."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    def load(texts):
        for name, text in texts.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        path = tmp_path / f"{next(iter(texts))}.py"
        begin([path])
        return load_file(path)

    return load


TRUE_IMPORTS = """
import json, os, sys
import harness.plugins.catalog
users = {}
for name in json.loads(sys.argv[1]):
    read, write = os.pipe()
    if os.fork() == 0:
        for module in name.split("+"):
            __import__(module)
        os.write(write, json.dumps(sorted(sys.modules)).encode() + b"\\n")
        os._exit(0)
    with os.fdopen(read) as lines:
        os.close(write)
        users[name] = json.loads(lines.readline())
print(json.dumps(users))
"""


@pytest.fixture(scope="module")
def methods():
    return load_catalog().methods


@pytest.fixture(scope="module")
def true_parts(methods):
    """Method → our modules that Python loads for it, found in a separate process."""
    places = {
        name: "+".join(
            sorted({function.__module__ for function in functions if function is not None})
        )
        for name, method in methods.items()
        for functions in [(method.unlearn, method.at_training, type(method.config))]
    }
    words = [sys.executable, "-c", TRUE_IMPORTS, json.dumps(sorted({*places.values()}))]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    return {
        name: {each for each in loaded[place] if each.partition(".")[0] in OURS}
        for name, place in places.items()
    }


def test_an_edited_module_changes_the_hashes_of_exactly_the_methods_that_import_it(
    methods, true_parts, monkeypatch
):
    before = {name: method_hash(method) for name, method in methods.items()}
    parts = sorted(set().union(*true_parts.values()))
    assert len(parts) > 40

    for part in parts:
        for addition, users in (
            (b"\nLATER = 1\n", {name for name in methods if part in true_parts[name]}),
            (b"\n# a comment\n\n'''A docstring.'''\n", set()),
        ):

            def edited(name, file, part=part, addition=addition):
                return text_of(name, file) + (addition if name == part else b"")

            with monkeypatch.context() as edit:
                edit.setattr("harness.plugins.source_hash.text_of", edited)
                after = {name: method_hash(method) for name, method in methods.items()}

            assert {name for name in methods if after[name] != before[name]} == users, part


HASHES = """
import importlib, json, os, pathlib, sys
from harness.plugins.modules import begin
from harness.plugins.source_hash import method_hash
edits, modules = map(json.loads, sys.argv[1:])
begin()
for path, old, new in edits:
    path = pathlib.Path(path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    if os.fork() == 0:
        hooks = [importlib.import_module(name).unlearning_methods for name in modules]
        found = {method.name: method_hash(method) for hook in hooks for method in hook()}
        print(json.dumps(found), flush=True)
        os._exit(0)
    os.wait()
"""


def test_edited_files_change_the_hashes_of_the_methods_that_use_them(methods, tmp_path):
    modules = sorted({method.unlearn.__module__ for method in methods.values()})
    for name in OURS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    future = "from __future__"
    closest = "amun_plugin/adversarial/closest.py"
    edits = [
        (closest, future, future),
        (closest, future, f"# a comment\n{future}"),
        (closest, "\nimport torch\n", "\nimport torch\nAGAIN = 2\n"),
        ("baselines/parts/saliency.py", "\nimport torch\n", "\nimport torch\nMORE = 3\n"),
    ]

    done = subprocess.run(
        [sys.executable, "-c", HASHES, json.dumps(edits), json.dumps(modules)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        cwd=tmp_path,
    )

    hashes = [json.loads(line) for line in done.stdout.splitlines()]
    pairs = itertools.pairwise(hashes)
    reworded, computed, masked = (
        {name for name in after if after[name] != before[name]} for before, after in pairs
    )
    amun = {name for name in hashes[0] if name.startswith("amun")}
    variants = amun - {"amun", "amun-pgd", "amun-paper"}
    assert {"amun-salun", "amun-l1"} < variants
    assert (reworded, computed, masked) == (set(), amun, {"salun"} | variants)


def test_an_edited_import_inside_a_function_or_of_a_parent_package_counts(written):
    texts = {
        "plug": "def unlearn(task, config):\n    from parts.deep import step\n    return step",
        "parts/__init__": "SHARED = 1",
        "parts/deep": "import importlib\nstep = importlib.import_module('named')",
        "named": "LR = 0.1",
    }
    before = source_hash(written(texts).unlearn)

    hashes = [
        source_hash(written({**texts, name: f"{texts[name]}\nMORE = 2"}).unlearn) for name in texts
    ]

    assert len({before, *hashes}) == 5


def test_a_helper_in_the_working_directory_counts_for_a_file_elsewhere(written):
    plug = "def unlearn(task, config):\n    import beside\n    return beside"
    helper = Path("beside.py")
    hashes = []
    for rate in ("0.1", "0.2"):
        helper.write_text(f"LR = {rate}")
        hashes.append(source_hash(written({"plug": plug}).unlearn))

    assert hashes[0] != hashes[1]


def test_an_edit_within_one_second_at_the_same_size_is_run_and_hashed(written, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    seen = []
    for rate in (0.1, 0.2, 0.1):
        module = written({"plug": LATE, "rates": f"LR = {rate}"})
        os.utime(Path("..", "rates.py"), (1_000_000_000, 1_000_000_000))
        seen.append((module.unlearn(None, None), source_hash(module.unlearn)))

    assert [rate for rate, _ in seen] == [0.1, 0.2, 0.1]
    assert seen[0] == seen[2]
    assert seen[0][1] != seen[1][1]


def test_an_edit_after_loading_is_neither_run_nor_hashed(written, tmp_path):
    module = written({"plug": "LR = 0.1\ndef unlearn(task, config):\n    return LR"})
    before = source_hash(module.unlearn)

    (tmp_path / "plug.py").write_text("LR = 0.2\ndef unlearn(task, config):\n    return LR")

    assert source_hash(module.unlearn) == before
    assert source_of(module.unlearn).edited() == ""


def test_a_late_import_of_an_edited_file_is_noticed(written, tmp_path):
    module = written({"plug": LATE, "rates": "LR = 0.1"})
    source = source_of(module.unlearn)
    (tmp_path / "rates.py").write_text("LR = 0.2  # edited")
    assert source.edited() == ""

    module.unlearn(None, None)

    assert source.edited() == "rates"


def test_a_late_import_of_a_reworded_file_does_not_count_as_edited(written, tmp_path):
    module = written({"plug": LATE, "rates": "LR = 0.1"})
    source = source_of(module.unlearn)
    (tmp_path / "rates.py").write_text('"""Rates."""\nLR = 0.1  # as in the paper')

    module.unlearn(None, None)

    assert source.edited() == ""


def test_at_training_and_the_class_of_the_config_count(written):
    plug = METHOD.format(imports="", body="return task.model", name="m").replace(
        "return [Method('m', unlearn, Config())]",
        "from stores import keep\n    from settings import Settings\n"
        "    return [Method('m', unlearn, Settings(), at_training=keep)]",
    )
    settings = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Settings:\n    {}"
    texts = {
        "plug": plug,
        "stores": "def keep(model, data):\n    return {}",
        "settings": settings.format("def course(self): return 1"),
    }
    edits = [
        {},
        {"stores": "def keep(model, data):\n    return dict()"},
        {"settings": settings.format("def course(self): return 2")},
    ]

    hashes = [method_hash(written(texts).unlearning_methods()[0]) for _ in range(2)]
    hashes += [method_hash(written({**texts, **edit}).unlearning_methods()[0]) for edit in edits]

    assert hashes[0] == hashes[1] == hashes[2]
    assert len({*hashes}) == 3


MAKERS = """
import dataclasses, enum, functools, pathlib, random
import numpy as np
import torch

def plain(task, config, *rest, **named):
    return task.model

def go(rate):
    def unlearn(task, config):
        return rate
    return unlearn

def later():
    def unlearn(task, config):
        return missing
    return unlearn
    missing = 1

def cyclic(rate):
    def unlearn(task, config):
        return unlearn, rates
    rates = [rate]
    rates.append(rates)
    return unlearn

class Callable:
    def __init__(self, *values):
        self.values = values
    def __call__(self, task, config):
        return self.values
    def unlearn(self, task, config):
        return self.values

class Slotted:
    __slots__ = ("rate",)
    def __init__(self, rate):
        self.rate = rate
    def __call__(self, task, config):
        return self.rate

@dataclasses.dataclass
class Settings:
    rate: float
    def __call__(self, task, config):
        return self.rate

class Kind(enum.Enum):
    A = 1
    B = 2

class Special(dict):
    pass

def attributed(rate):
    def unlearn(task, config):
        return unlearn.rate
    unlearn.rate = rate
    return unlearn

def default(rate):
    def unlearn(task, config, *, rate=rate):
        return rate
    return unlearn

def made(rate):
    class Inner:
        def __call__(self, task, config):
            return rate
    return Inner()

def wrapped(rate):
    return torch.no_grad()(functools.wraps(plain)(go(rate)))

def special(rate):
    it = Special(a=1)
    it.rate = rate
    return it

lambdas = [lambda task, config: 1,
           lambda task, config: 2]
"""

PAIRS = {
    "a closure": "go(0.01) | go(9.0)",
    "a partial's argument": "functools.partial(plain, 1) | functools.partial(plain, 2)",
    "a partial's keyword": "functools.partial(plain, a=1) | functools.partial(plain, b=1)",
    "a partial of a closure": "functools.partial(go(1)) | functools.partial(go(2))",
    "a function in a partial": "functools.partial(plain, go(1)) | functools.partial(plain, go(2))",
    "a type": "go(1) | go(1.0)",
    "a truth": "go(True) | go(1)",
    "a string": "go('a') | go(b'a')",
    "an attribute": "Callable(1) | Callable(2)",
    "a bound method": "Callable(1).unlearn | Callable(2).unlearn",
    "a slot": "Slotted(1) | Slotted(2)",
    "a dataclass": "Settings(1) | Settings(2)",
    "a class": "Settings(1) | Slotted(1)",
    "a cached function": "functools.lru_cache(go(1)) | functools.lru_cache(go(2))",
    "a function's attribute": "attributed(1) | attributed(2)",
    "a default": "default(1) | default(2)",
    "a local class": "made(1) | made(2)",
    "a wrapped function": "wrapped(1) | wrapped(2)",
    "one of two lambdas": "lambdas[0] | lambdas[1]",
    "a method": "Callable(1) | Callable(1).unlearn",
    "a list": "go([1, 2]) | go([2, 1])",
    "a mapping": "go({'a': 1}) | go({'a': 2})",
    "a set": "go({1, 2}) | go({1, 3})",
    "a tensor": "go(torch.zeros(2)) | go(torch.tensor([0.0, 1.0]))",
    "a tensor's type": "go(torch.zeros(2)) | go(torch.zeros(2).half())",
    "an array": "go(np.zeros(2)) | go(np.ones(2))",
    "an array of objects": "go(np.array([None, 1])) | go(np.array([None, 2]))",
    "a number of NumPy's": "go(np.float64(1)) | go(np.float64(2))",
    "a network": "go(torch.nn.ReLU(True)) | go(torch.nn.ReLU(False))",
    "a module": "go(torch) | go(np)",
    "a library's function": "go(torch.relu) | go(torch.sigmoid)",
    "a library's class": "go(torch.optim.SGD) | go(torch.optim.Adam)",
    "a member": "go(Kind.A) | go(Kind.B)",
    "a path": "go(pathlib.Path('a')) | go(pathlib.Path('b'))",
    "a dtype": "go(torch.float32) | go(torch.float64)",
    "a subclass's content": "go(Special(a=1)) | go(Special(a=2))",
    "a subclass's attribute": "go(special(1)) | go(special(2))",
    "a generator's state": "go(random.Random(0)) | go(random.Random(1))",
    "a generator of torch's": "go(torch.Generator().manual_seed(0)) | "
    "go(torch.Generator().manual_seed(1))",
    "a cycle": "cyclic(1) | cyclic(2)",
    "something that is set later": "later() | go(1)",
}


@pytest.fixture(scope="module")
def makers(tmp_path_factory):
    path = tmp_path_factory.mktemp("makers") / "makers.py"
    path.write_text(MAKERS)
    begin([path])
    return vars(load_file(path))


@pytest.mark.parametrize("held", PAIRS)
def test_the_values_that_a_function_holds_are_part_of_its_identity(makers, held):
    one, other = (compile(text.strip(), "x", "eval") for text in PAIRS[held].split("|"))

    hashes = [source_hash(eval(code, makers)) for code in (one, other, one)]

    assert hashes[0] != hashes[1]
    assert hashes[0] == hashes[2]


def test_a_hash_is_the_same_in_another_process_and_folder(makers, tmp_path):
    (tmp_path / "makers.py").write_text(MAKERS)
    calls = [part.strip() for pair in PAIRS.values() for part in pair.split("|")]
    program = (
        "import sys, pathlib\nfrom harness.plugins.modules import begin, load_file\n"
        "from harness.plugins.source_hash import source_hash\n"
        "p = pathlib.Path(sys.argv[1])\nbegin([p])\nspace = vars(load_file(p))\n"
        f"print(*[source_hash(eval(call, space)) for call in {calls!r}])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "makers.py")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    )

    assert done.stdout.split() == [source_hash(eval(call, makers)) for call in calls]


def test_a_closure_over_another_modules_function_counts(written):
    texts = {
        "plug": "from other import go\ndef plain(task, config):\n    return 1\nunlearn = go(plain)",
        "other": "def go(f):\n    def unlearn(task, config):\n        return f\n    return unlearn",
    }
    before = source_hash(written(texts).unlearn)

    after = source_hash(
        written({**texts, "plug": texts["plug"].replace("return 1", "return 2")}).unlearn
    )

    assert after != before


UNSTABLE = {
    "TextIOWrapper": "__import__('sys').__stdout__",
    "lock": "__import__('threading').Lock()",
    "generator": "(i for i in range(3))",
    "itertools.count": "__import__('itertools').count()",
}


@pytest.mark.parametrize("kind", UNSTABLE)
@pytest.mark.parametrize(("held", "place"), [("go(HELD)", "rate"), ("Callable({0: HELD})", "[0]")])
def test_a_value_that_cannot_be_hashed_is_rejected_by_name(makers, kind, held, place):
    function = eval(held.replace("HELD", UNSTABLE[kind]), makers)

    with pytest.raises(UserError, match=kind) as error:
        source_hash(function)

    assert place in str(error.value)
    assert " at 0x" not in str(error.value)
    assert "\n" not in str(error.value)


def test_code_that_is_not_in_a_file_is_rejected(makers):
    with pytest.raises(UserError, match="cannot be read"):
        source_hash(eval("lambda task, config: 1", makers))


def test_a_library_function_is_rejected_as_a_method():
    with pytest.raises(UserError, match="cannot be read"):
        source_hash(functools.partial(len))


def test_the_harness_and_installed_packages_are_not_part_of_a_source(methods):
    modules = set().union(*(method_source(method).modules for method in methods.values()))

    assert {name.partition(".")[0] for name in modules} == {*OURS}


def test_moving_a_base_class_within_the_harness_keeps_the_hashes(methods, monkeypatch):
    derived = {name for name, each in methods.items() if isinstance(each.config, FineTuning)}
    before = {name: method_hash(methods[name]) for name in derived}

    monkeypatch.setattr(FineTuning, "__module__", "harness.another.room")

    assert len(derived) > 3
    assert {name: method_hash(methods[name]) for name in derived} == before


def test_a_plugin_given_by_name_is_hashed_as_it_was_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "named_plugin_of_test_sources.py"
    path.write_text("def unlearn(task, config):\n    return 1")
    begin()
    module = load_named(path.stem)
    before = source_hash(module.unlearn)

    path.write_text("def unlearn(task, config):\n    return 2")

    assert source_hash(module.unlearn) == before
