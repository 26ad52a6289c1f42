"""The page about the attacks is true: its example runs, and its functions exist."""

import importlib
import re
from pathlib import Path

import numpy as np

PAGE = (Path(__file__).parents[2] / "harness/attacks/README.md").read_text(encoding="utf-8")


def test_the_example_runs_and_gives_one_score_a_sample():
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    space = {}

    exec(block, space)

    for name in ("p_x", "rmia", "published", "lira"):
        assert space[name].shape == (1000,)
        assert np.isfinite(space[name]).all()


def test_the_functions_of_the_table_are_in_the_files_beside_them():
    rows = re.findall(r"^\| (?:`(\w+)`)? *\| ([^|]+) \|", PAGE, re.MULTILINE)

    file, missing, found = "", [], 0
    for name, functions in rows:
        file = name or file
        module = importlib.import_module(f"harness.attacks.{file}")
        for function in re.findall(r"`(\w+)`", functions):
            found += 1
            if not hasattr(module, function):
                missing.append((file, function))

    assert missing == []
    assert found > 25
