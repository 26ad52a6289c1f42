"""A plugin's file imports installed packages first, then its own neighbours."""

import os
import pickle
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from harness.plugins.modules import begin, load_file, load_named

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Writes files beside an empty working directory, and loads some of them as ``-p`` would."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(sys, "path", list(sys.path))

    def load(texts, *files):
        for name, text in texts.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        paths = [tmp_path / name for name in files]
        begin(paths)
        return [load_file(path) for path in paths]

    return load


IMPORTS = {
    "import": ("import utils", "utils.NAME"),
    "import as": ("import utils as u", "u.NAME"),
    "from": ("from utils import NAME as own", "own"),
    "from all": ("from utils import *", "NAME"),
    "a package": ("import parts", "parts.NAME"),
    "a module of a package": ("import parts.deep", "parts.deep.NAME"),
    "a module of a package by another name": ("import parts.deep as d", "d.NAME"),
    "from a package": ("from parts import deep", "deep.NAME"),
    "from a module of a package": ("from parts.deep import NAME", "NAME"),
    "a relative one": ("from . import utils", "utils.NAME"),
    "from a relative one": ("from .parts.deep import NAME", "NAME"),
    "a folder without __init__": ("import bare.inner", "bare.inner.NAME"),
    "what a part imports": ("import parts.user", "parts.user.utils.NAME"),
    "what a part imports of its own": ("import parts.user", "parts.user.deep.NAME"),
    "two at once": ("import parts.deep, utils", "parts.deep.NAME[:0] + utils.NAME"),
    "by a literal name": ("u = __import__('utils')", "u.NAME"),
}


def neighbours(folder, text):
    return {
        f"{folder}/method.py": text,
        f"{folder}/utils.py": f"NAME = {folder!r}",
        f"{folder}/parts/__init__.py": f"NAME = {folder!r}",
        f"{folder}/parts/deep.py": f"NAME = {folder!r}",
        f"{folder}/parts/user.py": "import utils\nfrom parts import deep\nfrom . import deep as d",
        f"{folder}/bare/inner.py": f"NAME = {folder!r}",
    }


AT_IMPORT = "{}\ndef name():\n    return {}"
WHEN_CALLED = "def name():\n    {}\n    return {}"
CASES = [(kind, WHEN_CALLED) for kind in IMPORTS if kind != "from all"]  # not allowed in a function


@pytest.mark.parametrize(("kind", "text"), [*((kind, AT_IMPORT) for kind in IMPORTS), *CASES])
def test_two_plugins_each_import_their_own_neighbour(folders, kind, text):
    text = text.format(*IMPORTS[kind])
    texts = {**neighbours("a", text), **neighbours("b", text)}

    one, other = folders(texts, "a/method.py", "b/method.py")

    assert (one.name(), other.name(), one.name()) == ("a", "b", "a")
    assert not {"utils", "parts", "bare", "method"} & {*sys.modules}


def test_a_neighbour_takes_precedence_over_the_working_directory(folders):
    text = "import utils, beside"
    texts = {**neighbours("a", text), "cwd/utils.py": "NAME = 'cwd'", "cwd/beside.py": "NAME = 1"}

    (module,) = folders(texts, "a/method.py")

    assert (module.utils.NAME, module.beside.NAME) == ("a", 1)


@pytest.mark.parametrize("place", ["a", "cwd"])
@pytest.mark.parametrize("name", ["random", "pluggy", "torch", "sklearn", "harness", "baselines"])
def test_an_installed_package_takes_precedence_over_a_file_with_its_name(folders, place, name):
    texts = {"a/method.py": f"import {name} as it", f"{place}/{name}.py": "raise OSError('mine')"}

    (module,) = folders(texts, "a/method.py")

    assert module.it is sys.modules[name]


@pytest.mark.parametrize("name", ["weakref", "sklearn"])
def test_a_plugin_may_have_the_name_of_a_library_that_it_imports(folders, name):
    (module,) = folders({f"a/{name}.py": f"import {name} as it"}, f"a/{name}.py")

    assert module.it is sys.modules[name]


def test_a_plugin_given_by_name_is_an_installed_module_first(folders, tmp_path):
    folders({"cwd/colorsys.py": "MINE = True", "cwd/only_here.py": "import colorsys"})
    begin()

    assert not hasattr(load_named("colorsys"), "MINE")
    assert not hasattr(load_named("only_here").colorsys, "MINE")
    assert str(tmp_path / "cwd") not in sys.path


def test_a_folder_that_a_plugin_adds_to_the_path_is_private_to_it(folders, tmp_path):
    text = "import sys\nsys.path.insert(0, {!r})\n"
    late = "def late():\n    import others\n    return others.NAME"
    texts = {
        f"{folder}/method.py": text.format(str(tmp_path / folder / "lib")) + late
        for folder in ("a", "b")
    } | {f"{folder}/lib/others.py": f"NAME = {folder!r}" for folder in ("a", "b")}
    before = list(sys.path)

    one, other = folders(texts, "a/method.py", "b/method.py")

    assert (other.late(), one.late()) == ("b", "a")
    assert sys.path == before


def test_neighbours_may_import_each_other_circularly(folders):
    texts = {
        "a/method.py": "import first\ndef name():\n    return first.NAME",
        "a/first.py": "import second\nNAME = 'first'\nimport method",
        "a/second.py": "import first\nassert first",
    }

    (module,) = folders(texts, "a/method.py")

    assert module.name() == "first"
    assert module.first.method is module


def test_two_files_of_one_folder_share_a_neighbour(folders):
    texts = {**neighbours("a", "import utils"), "a/other.py": "import utils"}

    one, other = folders(texts, "a/method.py", "a/other.py")

    assert one.utils is other.utils


def test_a_missing_module_is_reported_by_its_own_name(folders):
    with pytest.raises(ModuleNotFoundError, match="No module named 'nowhere_at_all'"):
        folders({"a/method.py": "import nowhere_at_all"}, "a/method.py")


def test_an_optional_import_may_be_missing(folders):
    text = "try:\n    import nowhere_at_all\nexcept ImportError:\n    nowhere_at_all = None"

    (module,) = folders({"a/method.py": text}, "a/method.py")

    assert module.nowhere_at_all is None


CLASSES = """
from __future__ import annotations
import dataclasses, typing
import utils

@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    lr: float = 0.1
    other: typing.ClassVar[int] = 1
    back: Config | None = None
"""


def test_classes_in_a_file_can_be_pickled_and_have_readable_annotations(folders):
    (module,) = folders(neighbours("a", CLASSES), "a/method.py")
    config = module.Config(0.2, module.Config())

    assert pickle.loads(pickle.dumps(config)) == config
    assert typing.get_type_hints(module.Config)["back"] == module.Config | None


def test_a_file_with_an_odd_name_and_an_init_file_can_be_loaded(folders):
    texts = {"a/my-method.v2.py": "import utils", "a/utils.py": "", "b/__init__.py": "X = 1"}

    odd, own = folders(texts, "a/my-method.v2.py", "b/__init__.py")

    assert odd.utils
    assert own.X == 1


def test_late_imports_of_an_earlier_catalog_still_work_after_a_later_load(folders):
    text = "def name():\n    import utils\n    return utils.NAME"
    (earlier,) = folders(neighbours("a", text), "a/method.py")

    (later,) = folders({}, "a/method.py")

    assert later is not earlier
    assert (earlier.name(), later.name()) == ("a", "a")


CHILD = """
import sys
from harness.plugins.modules import begin
begin()
import colorsys, xmlrpc
print(colorsys.__file__, xmlrpc.__file__)
print(sys.path.index(sys.argv[1]) if sys.argv[1] in sys.path else "''")
"""


@pytest.mark.parametrize("start", ["-c", "-m"])
def test_the_working_directory_shadows_no_library_however_python_is_started(tmp_path, start):
    (tmp_path / "colorsys.py").write_text("raise OSError('mine')")
    (tmp_path / "xmlrpc.py").write_text("raise OSError('mine')")
    (tmp_path / "program.py").write_text(CHILD)
    word = CHILD if start == "-c" else "program"

    done = subprocess.run(
        [sys.executable, start, word, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert str(tmp_path) not in done.stdout.splitlines()[0]
