"""The contract that every method must keep; a plugin author runs it on theirs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from harness.data import Data
from harness.models import Material, MethodError, Workshop
from harness.records import canonical
from harness.request import configured
from harness.seeds import stream
from harness.specs import (
    Catalog,
    ClassFraction,
    ForgetRule,
    Method,
    RandomFraction,
    Recipe,
    Replicate,
    Scenario,
    Task,
    WholeClass,
)
from harness.splits import Split, split

CLASSES = 4
RULES: Mapping[str, ForgetRule] = {
    rule.kind: rule for rule in (RandomFraction(0.25), WholeClass(1), ClassFraction(1, 0.5))
}


def check_method(method: Method, *, backbone: str = "test_resnet", device: str = "cpu") -> None:
    """Runs a method on a problem of 64 small images and holds it to the contract.

    The method must return a model of the original's class and weights, with finite logits, the same
    under the same seed; it must leave the data and its config alone, and work without the retain
    set if it says so. Raises AssertionError that names the broken rule.
    """
    _check_config(method)
    workshop = _workshop(backbone, torch.device(device))
    weights = workshop.untrained(0, "original").state_dict()
    for scenario in _scenarios(method, workshop.scenario):
        at = dataclasses.replace(workshop, scenario=scenario)
        rows = split(scenario, Replicate(0, 0), at.material.train.labels, at.material.test.labels)
        where = f"method {method.name!r} in {scenario.name!r}"
        once, twice = (_unlearned(at, method, weights, rows, where) for _ in range(2))
        different = [name for name in once if not torch.equal(once[name], twice[name])]
        assert not different, f"{where}: the same seed gave other weights, first in {different[0]}"


def _check_config(method: Method) -> None:
    """Every field must have a JSON form, and convert from its own text."""
    for field in dataclasses.fields(method.config):
        value = getattr(method.config, field.name)
        canonical(value)
        if isinstance(value, str | int | float | None):
            again = configured(method.name, method.config, field.name, str(value))
            assert getattr(again, field.name) == value, f"--set {method.name}.{field.name} fails"


def _scenarios(method: Method, base: Scenario) -> Iterator[Scenario]:
    for kind, rule in RULES.items():
        for access in (1.0, 0.0):
            held_out = 0.25 if method.needs_held_out else 0.0
            scenario = dataclasses.replace(
                base,
                name=f"{kind}-access-{access:.0%}".rstrip("%"),
                forget=rule,
                retain_access=access,
                held_out=held_out,
            )
            if not method.undefined_because(scenario):
                yield scenario


def _unlearned(
    workshop: Workshop, method: Method, weights: Mapping[str, Tensor], rows: Split, where: str
) -> dict[str, Tensor]:
    """One run, with a watch on the task that the method was given."""
    given: list[tuple[Task, dict[str, Tensor], str]] = []

    def watched(task: Task, config: Any) -> nn.Module:
        kind = type(task.model)
        before = {name: t.clone() for name, t in _tensors(task)}
        given.append((task, before, canonical(task.scenario)))
        settings = canonical(config)
        model = method.unlearn(task, config)
        assert canonical(config) == settings, f"{where}: it changed its config"
        if isinstance(model, nn.Module):
            _check_kind(model, kind, where)
        return model

    spy = dataclasses.replace(method, unlearn=watched)
    try:
        found, cost = workshop.unlearned(spy, method.config, weights, rows, seed=1)
    except MethodError as error:
        raise AssertionError(f"{where}: {error}") from error
    task, before, scenario = given[0]
    assert canonical(task.scenario) == scenario, f"{where}: it changed the scenario"
    changed = [name for name, t in _tensors(task) if not torch.equal(t, before[name])]
    assert not changed, f"{where}: it changed the data it was given: {changed}"
    train, test = workshop.outputs(found)
    assert train.isfinite().all(), f"{where}: logits on the train set are not finite"
    assert test.isfinite().all(), f"{where}: logits on the test set are not finite"
    assert cost.passes >= 0, f"{where}: its work was not counted"
    return {name: value.cpu().clone() for name, value in found.items()}


def _check_kind(model: nn.Module, kind: type[nn.Module], where: str) -> None:
    """Only weights are kept of a model: it must do without any other change."""
    assert type(model) is kind, (
        f"{where}: it returned a {type(model).__name__}; expected the original's {kind.__name__}"
    )
    for name, part in model.named_modules():
        hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks)
        assert not any(hooks), f"{where}: it left a hook on {name or 'the model'}"
        assert "forward" not in vars(part), f"{where}: it replaced forward of {name or 'the model'}"


def _tensors(task: Task) -> Iterator[tuple[str, Tensor]]:
    for name in ("retain", "forget", "held_out"):
        data = getattr(task, name)
        for column in ("images", "labels", "index", "augment"):
            yield f"{name}.{column}", getattr(data, column)


def _workshop(backbone: str, device: torch.device) -> Workshop:
    """64 train and 32 test images of four classes, 16 px, one channel; random, and told apart."""
    labels = torch.arange(96) % CLASSES
    images = torch.rand(96, 1, 16, 16, generator=stream(0, "contract")) / 2
    for label in range(CLASSES):
        images[labels == label, :, 4 * label : 4 * label + 4] += 0.5
    pixels = (images * 255).to(torch.uint8)
    train, test = (Data.of(pixels[at], labels[at]) for at in (slice(64), slice(64, None)))
    return Workshop(
        Scenario("contract", "contract", backbone, Recipe(2, 0.05, 16), RandomFraction(0.25)),
        Material(train.to(device), test.to(device), "contract", CLASSES, (0.4,), (0.3,)),
        Catalog(),
    )
