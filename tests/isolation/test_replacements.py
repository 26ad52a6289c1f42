"""Importing a plugin cannot change the functions, hooks and settings that others use."""

import builtins  # noqa: F401 - named by BAD
import dataclasses  # noqa: F401
import gc
import locale
import math  # noqa: F401
import os
import random
import subprocess
import sys
import warnings

import numpy as np
import pluggy  # noqa: F401
import pytest
import torch
from torch.nn import functional as F

import harness.datasets.splits
import harness.version
from harness import UserError
from harness.isolation.replacements import Everyones
from harness.isolation.surroundings import undisturbed
from harness.plugins.catalog import load_catalog

BAD = {
    "torch.nn.functional.cross_entropy": "F.cross_entropy = lambda *a, **k: 0",
    "torch.nn.functional.relu": "F.relu.__code__ = (lambda input, inplace: input).__code__",
    "torch.nn.functional.softmax": "F.softmax = torch.no_grad()(F.softmax)",
    "torch.nn.functional.dropout": "F.dropout.__defaults__ = (0.0, True, False)",
    "torch.nn.functional.pad": "del F.pad",
    "torch.relu": "torch.relu = torch.sigmoid",
    "torch.nn.functional": "torch.nn.functional = types.SimpleNamespace(**vars(F))",
    "torch.nn.functional ": "sys.modules['torch.nn.functional'] = types.ModuleType('F')",
    "torch.nn.Linear": "torch.nn.Linear = type('Linear', (torch.nn.Linear,), {})",
    "torch.nn.Linear.forward": "torch.nn.Linear.forward = lambda self, x: x",
    "torch.nn.BatchNorm2d.forward": "torch.nn.BatchNorm2d.forward = lambda self, x: x",
    "torch.nn.Module.train": "torch.nn.Module.train = lambda self, mode=True: self",
    "torch.Tensor.backward": "torch.Tensor.backward = lambda self: None",
    "torch.Tensor.add": "torch.Tensor.add = lambda self, other: self",
    "torch.optim.SGD.step": "torch.optim.SGD.step = lambda self: None",
    "torch.utils.data.DataLoader": "torch.utils.data.DataLoader = list",
    "torch.manual_seed": "torch.manual_seed = lambda seed: None",
    "torch.nn.init.kaiming_uniform_": "torch.nn.init.kaiming_uniform_ = lambda t, **k: t",
    "numpy.mean": "np.mean = np.median",
    "math.pi": "math.pi = 3.0",
    "dataclasses.replace": "dataclasses.replace = lambda it, **changes: it",
    "pluggy.PluginManager.register": "pluggy.PluginManager.register = lambda *a, **k: None",
    "random.shuffle": "random.shuffle = lambda x: None",
    "builtins.sorted": "builtins.sorted = list",
    "builtins.open": "builtins.open = lambda *a, **k: None",
    "harness.version.CODE": "harness.version.CODE = 99",
    "harness.datasets.splits.split": "harness.datasets.splits.split = None",
    "harness.datasets.splits.len": "harness.datasets.splits.len = lambda x: 0",
    "harness.specs.method.Method.undefined_because": "harness.Method.undefined_because = "
    "lambda s, x: ''",
    "torch.nn.modules.module._global_forward_hooks": "torch.nn.modules.module."
    "register_module_forward_hook(lambda module, args, out: out * 2)",
    "torch.optim.optimizer._global_optimizer_pre_hooks": "from torch.optim import optimizer\n"
    "optimizer.register_optimizer_step_pre_hook(lambda optimizer, args, kwargs: None)",
}

IMPORTS = """
import builtins, dataclasses, math, pluggy, random, sys, types
import numpy as np
import torch
import torch.nn.functional as F
import harness.datasets.splits, harness.version
"""


def everyones():
    """The current values of everything that the entries of BAD replace."""
    named = {name.strip() for name in BAD if "_global_" not in name and "splits.len" not in name}
    hooks = (torch.nn.modules.module, sys.modules["torch.optim.optimizer"])
    found = [(name, eval(name, {**globals(), "numpy": np})) for name in named]
    found += [
        ("F", (F.relu.__code__, F.dropout.__defaults__)),
        ("modules", sys.modules[F.__name__]),
    ]
    return dict(found) | {
        f"{module.__name__}.{name}": dict(value)
        for module in hooks
        for name, value in vars(module).items()
        if name.startswith("_global_") and isinstance(value, dict)
    }


@pytest.mark.parametrize("name", BAD)
def test_a_shared_function_or_hook_that_an_import_replaces_is_named_and_restored(name):
    before, watch = everyones(), Everyones()

    exec(IMPORTS + BAD[name], {})
    replaced = watch.put_back()

    assert replaced == name.strip()
    assert everyones() == before
    assert "len" not in vars(harness.datasets.splits)
    assert watch.put_back() == ""


PLUGIN = """
from harness import hookimpl
{}
@hookimpl
def unlearning_methods():
    {}
    return []
"""


def test_a_plugin_that_replaces_a_function_is_left_out_with_the_reason(tmp_path):
    path = tmp_path / "patching.py"
    path.write_text(PLUGIN.format(IMPORTS + "F.cross_entropy = lambda *a, **k: 0", ""))
    before = F.cross_entropy

    with pytest.raises(UserError) as error:
        load_catalog([str(path)])

    assert str(error.value) == (
        f"plugin '{path}': its import replaced torch.nn.functional.cross_entropy, which would "
        f"change every method; replace it inside the method"
    )
    assert F.cross_entropy is before


def test_a_function_replaced_by_a_plugins_hook_is_detected_too(tmp_path):
    path = tmp_path / "patching.py"
    path.write_text(PLUGIN.format(IMPORTS, "torch.nn.Linear.forward = lambda self, x: x"))
    before = torch.nn.Linear.forward

    with pytest.raises(UserError, match=r"one of its hooks replaced torch\.nn\.Linear\.forward"):
        load_catalog([str(path)])

    assert torch.nn.Linear.forward is before


LIBRARIES = """
import torch._dynamo, torchvision, sklearn.svm, pandas, scipy.stats, torch.func, timm, optuna
import torch.distributed, torch.nn.utils.prune, torch.distributions, torchvision.transforms.v2
net = torch.nn.Linear(2, 2)
for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
    optimizer = kind(net.parameters(), lr=0.1)
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2))
torch.func.vmap(lambda x: x)(torch.ones(2))
torch.Tensor.of_mine = torch.nn.functional.of_mine = torch.nn.Module.of_mine = 1
"""

FRESH = f"""
import warnings
warnings.simplefilter("ignore")
import torch
from harness.isolation.replacements import Everyones
watch = Everyones()
exec({LIBRARIES!r})
print(repr(watch.put_back()), torch.Tensor.of_mine)
"""


def test_the_first_use_of_a_library_does_not_count_as_a_replacement():
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True)

    assert done.stdout == "'' 1\n"


def numbers():
    return torch.rand(1).item(), random.random(), np.random.rand()  # noqa: NPY002


SETTINGS = {
    "default dtype": ("torch.set_default_dtype(torch.float64)", torch.get_default_dtype),
    "default device": ("torch.set_default_device('meta')", lambda: torch.empty(0).device),
    "threads": ("torch.set_num_threads(3)", torch.get_num_threads),
    "grad": ("torch.set_grad_enabled(False)", torch.is_grad_enabled),
    "inference mode": (
        "HELD = torch.inference_mode()\nHELD.__enter__()",
        torch.is_inference_mode_enabled,
    ),
    "anomalies": ("torch.autograd.set_detect_anomaly(True)", torch.is_anomaly_enabled),
    "a mode": (
        "torch.overrides.TorchFunctionMode().__enter__()",
        torch._C._len_torch_function_stack,
    ),
    "denormals": ("torch.set_flush_denormal(True)", lambda: float(torch.tensor(1e-40) * 1)),
    "seeds": ("torch.manual_seed(5); random.seed(5); np.random.seed(5)", None),
    "numpy's errors": ("np.seterr(all='raise')", np.geterr),
    "filters": ("warnings.simplefilter('error')", lambda: list(warnings.filters)),
    "recursion": ("sys.setrecursionlimit(5000)", sys.getrecursionlimit),
    "excepthook": ("sys.excepthook = print", lambda: sys.excepthook),
    "gc": ("gc.disable()", gc.isenabled),
    "locale": ("locale.setlocale(locale.LC_ALL, 'C')", lambda: locale.setlocale(locale.LC_ALL)),
    "path": ("sys.path.reverse(); sys.path.pop()", lambda: list(sys.path)),
    "folder": ("os.chdir('/')", os.getcwd),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_is_restored(setting):
    text, read = SETTINGS[setting]
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    read = read or numbers
    before = read()
    if read is numbers:
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002

    with undisturbed():
        exec(text, globals())

    assert read() == before


def test_a_plugin_that_sets_the_default_dtype_does_not_change_it_for_others(tmp_path):
    path = tmp_path / "setting.py"
    path.write_text(PLUGIN.format("import torch\ntorch.set_default_dtype(torch.float64)", ""))

    load_catalog([str(path)])

    assert torch.get_default_dtype() == torch.float32


def test_a_class_of_a_plugin_is_watched_if_it_is_named():
    class Net:
        def forward(self):
            return 1

    shared = Everyones([Net])
    Net.forward = lambda _: 2

    assert shared.put_back().endswith("Net.forward")
    assert Net().forward() == 1
