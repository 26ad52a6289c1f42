"""Every attack takes arrays of any precision, lists and tensors, and needs no heavy library."""

import dataclasses
import importlib
import inspect
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from harness import attacks
from harness.attacks import (
    forgetting_quality,
    klom,
    lira,
    population,
    reference_losses,
    references,
    rmia,
    signals,
    ulira,
)

SAMPLES, MODELS, CLASSES = 24, 6, 3
FORMS = {
    "float32": lambda array: array.astype(np.float32),
    "float16": lambda array: array.astype(np.float16),
    "lists": lambda array: array.tolist(),
    "tensors": torch.from_numpy,
    "float16 tensors": lambda array: torch.from_numpy(array).half(),
}


def numbers(*shape, seed=0, scale=2.0):
    """Multiples of 1/64, which float16 holds exactly."""
    return np.round(np.random.default_rng(seed).normal(0, scale, shape) * 64) / 64


LOGITS, POOL = numbers(SAMPLES, CLASSES), numbers(MODELS, SAMPLES, CLASSES, seed=1)
LABELS = np.arange(SAMPLES) % CLASSES
INSIDE = (np.arange(MODELS)[:, None] + np.arange(SAMPLES)) % 2 == 0
STATE = INSIDE.astype(np.int8)
ONE, MANY = numbers(SAMPLES, seed=2), numbers(MODELS, SAMPLES, seed=3)
OTHERS = numbers(MODELS, SAMPLES, seed=4)
FEW = MANY[:, :2], OTHERS[:, :2]
POSITIVE, SHARES = abs(ONE), abs(MANY) / 16
CALLS = {
    signals.logit_scaling: (LOGITS, LABELS),
    signals.released_logit_scaling: (LOGITS, LABELS),
    signals.log_probability: (LOGITS, LABELS),
    signals.probability: (LOGITS, LABELS),
    signals.taylor: (LOGITS, LABELS),
    signals.taylor_soft_margin: (LOGITS, LABELS),
    population.correctness: (LOGITS, LABELS),
    population.modified_entropy: (LOGITS, LABELS),
    population.m_entropy_salun: (LOGITS, LABELS),
    population.member_scores: (LOGITS, LABELS),
    population.entropy: (LOGITS,),
    population.probabilities: (LOGITS,),
    population.best_threshold: (ONE, MANY[0]),
    population.class_thresholds: (ONE, LABELS, MANY[0], LABELS),
    population.logistic_on_loss: (ONE, MANY[0]),
    population.svc: (ONE, MANY[0], MANY[1]),
    references.reference_signal: (MANY, STATE),
    references.privacy_meter_reference: (SHARES, STATE),
    reference_losses.attack_r: (POSITIVE, abs(MANY), STATE),
    reference_losses.attack_p: (POSITIVE, abs(MANY[0])),
    rmia.log_ratio: (ONE, MANY[0]),
    rmia.count: (ONE, np.ones(SAMPLES, dtype=bool)),
    rmia.vote: (MANY.T, np.ones(SAMPLES, dtype=bool)),
    rmia.amun: (LOGITS, POOL, LABELS),
    lira.online: (ONE, MANY, INSIDE),
    lira.offline: (ONE, MANY, INSIDE),
    lira.released_online: (ONE, MANY, INSIDE),
    lira.released_offline: (ONE, MANY, INSIDE),
    lira.global_threshold: (ONE,),
    ulira.ulira: (MANY, 2 * STATE),
    ulira.ruli: (MANY, 2 * STATE),
    klom.klom: (MANY, OTHERS),
    klom.null: (MANY, OTHERS),
    klom.summary: (POSITIVE,),
    forgetting_quality.epsilons: FEW,
    forgetting_quality.quality: FEW,
    forgetting_quality.null: FEW,
    forgetting_quality.null_of_halves: (np.concatenate(FEW),),
}
INTERNAL = {
    *("default_law", "pooled_variance", "log_density", "log_tail", "fit"),  # of checked margins
    *("per_sample", "log_softmax", "score", "final_score"),  # of a function, or of numbers
}


def modules():
    return [
        importlib.import_module(f"harness.attacks.{found.name}")
        for found in pkgutil.iter_modules(attacks.__path__)
    ]


def as_numbers(found):
    """A result as one flat array."""
    if isinstance(found, dict):
        return np.concatenate([np.atleast_1d(each) for each in found.values()])
    if isinstance(found, ulira.Scored):
        return found.scores
    return np.atleast_1d(dataclasses.astuple(found) if dataclasses.is_dataclass(found) else found)


def in_form(array, form):
    """Numbers take the form; labels, states and masks keep their kind."""
    if array.dtype == np.float64:
        return FORMS[form](array)
    return array.tolist() if form == "lists" else torch.from_numpy(array)


def test_the_table_of_calls_has_every_public_function():
    public = {
        function
        for module in modules()
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and name[0] != "_"
    }

    assert {function for function in public if function.__name__ not in INTERNAL} == {*CALLS}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "function", CALLS, ids=lambda f: f"{f.__module__.split('.')[-1]}.{f.__name__}"
)
def test_the_same_numbers_give_the_same_result_in_every_form(function, form):
    expected = as_numbers(function(*CALLS[function]))

    found = as_numbers(function(*(in_form(each, form) for each in CALLS[function])))

    assert found.dtype == expected.dtype
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_importing_the_attacks_imports_neither_torch_nor_scikit_learn_nor_scipys_statistics():
    names = [module.__name__ for module in modules()]
    program = f"import sys, {', '.join(names)}; print(*sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert not {"torch", "sklearn", "scipy.stats", "pandas", "pluggy"} & {*done.stdout.split()}
