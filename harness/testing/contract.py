"""The contract that every method must keep, as a check on small problems."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harness.datasets.splits import Split, split
from harness.errors import UserError
from harness.records.lines import canonical
from harness.runs.method_call import MethodError, call_of
from harness.runs.models import LoadedDataset, Models
from harness.runs.product import difference
from harness.runs.settings import configured
from harness.seeds import stream
from harness.specs.catalog import Catalog
from harness.specs.data import Data
from harness.specs.forgetting import ClassFraction, ForgetRule, RandomFraction, WholeClass
from harness.specs.method import Method, Task
from harness.specs.scenario import Recipe, Replicate, Scenario
from harness.specs.shares import percent
from harness.testing.watch import Provenance, tensors_of
from harness.training.flops import forward_flops

CLASSES, TRAIN, TEST = 4, 32, 16
SHAPE = (1, 16, 16)

TINY_BACKBONES = ("test_resnet", "test_vit[img_size=16,patch_size=4]", "test_convnext")
"""BatchNorm and convolutions; attention and LayerNorm; convolutions and LayerNorm."""

RULES: tuple[ForgetRule, ...] = (RandomFraction(0.25), WholeClass(1), ClassFraction(1, 0.5))
ACCESS = ((1.0, 0.25, 0.0), (1.0, 0.0), (0.25,))
"""For each rule, the shares of the retain set that methods may see."""

CORNERS = 4096
"""The most corners of a search space that are checked."""


def check_method(method: Method, *, backbone: str = "", device: str = "cpu") -> None:
    """Runs a method on problems with 32 small images and checks the contract.

    Without a ``backbone`` it runs on all of ``TINY_BACKBONES``: on the first in every scenario
    that it is defined for, on the others in one. The rules:

    - The same seed gives the same finite model, even if all data that the method may not see are
      different.
    - The model has the original's class and architecture, and no hooks.
    - The method computes with nothing but its task, and does not change the data, the scenario or
      its config.
    - Its work is counted.
    - Every setting converts from text, and its config accepts the corners of its search space.

    Raises AssertionError that names the broken rule.
    """
    check_settings(method)
    for number, name in enumerate([backbone] if backbone else TINY_BACKBONES):
        scenarios = list(_scenarios(method, name))
        base = _Base.of(name, torch.device(device))
        for scenario in scenarios if number == 0 else scenarios[:1]:
            _check_scenario(base, method, scenario)


def check_settings(method: Method) -> None:
    """Checks that every setting has a JSON form and converts from text, as ``--set`` needs.

    It checks the defaults and the corners of the search space. Raises AssertionError that names the
    setting.
    """
    spaces = ([(name, v) for v in setting.values()] for name, setting in method.search.items())
    for corner in itertools.islice(itertools.product(*spaces), CORNERS):
        try:
            config = dataclasses.replace(method.config, **dict(corner))
        except (ValueError, TypeError, AssertionError) as error:
            raise AssertionError(
                f"method {method.name!r}: its config rejects {dict(corner)}, a corner of its "
                f"search space: {error}"
            ) from error
        for name, _ in corner:
            _check_field(method.name, config, name)
    for field in dataclasses.fields(method.config):
        _check_field(method.name, method.config, field.name)


def _check_field(method: str, config: Any, field: str) -> None:
    value = getattr(config, field)
    canonical(value)
    try:
        again = getattr(configured(method, config, field, str(value)), field)
    except UserError as error:
        raise AssertionError(f"a setting must convert from its text: {error}") from error
    assert again == value, f"--set {method}.{field}={value} gives {again!r}; expected {value!r}"


class _Base(NamedTuple):
    """What all runs on one backbone share; it has no data, which a method could find in memory."""

    models: Models
    weights: Mapping[str, Tensor]
    unit: int
    """The work of one forward of one image."""

    @classmethod
    def of(cls, backbone: str, device: torch.device) -> _Base:
        scenario = Scenario("contract", "contract", backbone, Recipe(2, 0.05, 16), RULES[0])
        none = Data.of(torch.zeros(0, *SHAPE, dtype=torch.uint8), torch.zeros(0).long())
        dataset = LoadedDataset(none, none, "contract", CLASSES, (0.4,), (0.3,))
        models = Models(scenario, dataset, Catalog(), device)
        model = models.network.fresh(0, "original")
        unit = forward_flops(model, torch.zeros(1, *SHAPE, device=device))
        return cls(models, model.state_dict(), unit)

    def world(self, scenario: Scenario, same: Tensor | None) -> Models:
        """Models of the data; with ``same``, only these train rows keep their images and labels."""
        train, test = _images(same)
        dataset = dataclasses.replace(self.models.dataset, train=train, test=test)
        models = dataclasses.replace(self.models, scenario=scenario, dataset=dataset)
        vars(models)["design"] = self.models.design  # otherwise each world would test it again
        return models


def _images(same: Tensor | None) -> tuple[Data, Data]:
    """Random train and test images of four classes, each class marked by a bright bar."""
    labels = torch.arange(TRAIN + TEST) % CLASSES
    images = torch.rand(TRAIN + TEST, *SHAPE, generator=stream(0, "contract")) / 2
    for label in range(CLASSES):
        images[labels == label, :, 4 * label : 4 * label + 4] += 0.5
    pixels = (images * 255).to(torch.uint8)
    if same is not None:
        changed = torch.ones(TRAIN + TEST, dtype=torch.bool)
        changed[same] = False
        pixels[changed] = 255 - pixels[changed].flip(-1)
        labels[changed] = (labels[changed] + 1) % CLASSES
    return Data.of(pixels[:TRAIN], labels[:TRAIN]), Data.of(pixels[TRAIN:], labels[TRAIN:])


def _scenarios(method: Method, backbone: str) -> Iterator[Scenario]:
    for rule, shares in zip(RULES, ACCESS, strict=True):
        for access in shares:
            scenario = Scenario(
                name=f"{rule.kind}-access-{percent(access)}".rstrip("%"),
                dataset="contract",
                backbone=backbone,
                recipe=Recipe(2, 0.05, 16),
                forget=rule,
                retain_access=access,
                held_out=0.25 if method.needs_held_out else 0.0,
            )
            if not method.undefined_because(scenario):
                yield scenario


def _check_scenario(base: _Base, method: Method, scenario: Scenario) -> None:
    """Runs the same seed in two worlds that differ only in data that the method may not see."""
    where = f"method {method.name!r} in {scenario.name!r} with {scenario.backbone!r}"
    rows = split(
        scenario, Replicate(0, 0), torch.arange(TRAIN) % CLASSES, torch.arange(TEST) % CLASSES
    )
    granted = torch.cat([rows.visible, rows.forget, rows.held_out])
    if method.at_training is not None:
        granted = torch.arange(TRAIN)  # what it stored may depend on every row
    once = _unlearned(base, base.world(scenario, None), method, rows, where)
    other = _unlearned(base, base.world(scenario, granted), method, rows, where, watching=False)
    if odd := _different(once, other):
        again = _unlearned(base, base.world(scenario, None), method, rows, where)
        seed = _different(once, again)
        assert not seed, f"{where}: the same seed gave other weights, first in {seed}"
        raise AssertionError(
            f"{where}: it sees what it was not granted: with another test set"
            f"{' and other hidden train rows' if len(granted) < TRAIN else ''} the same seed gave "
            f"other weights, first in {odd}"
        )


def _different(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str:
    """The first weight that differs, or ""."""
    odd = (name for name in one if not torch.equal(one[name], other[name]))
    return next(odd, "")


def _unlearned(
    base: _Base,
    world: Models,
    method: Method,
    rows: Split,
    where: str,
    *,
    watching: bool = True,
) -> Mapping[str, Tensor]:
    """The weights of one checked run; unless ``watching``, the origin of tensors is not checked."""
    watch = Provenance(world.dataset.train.images[0].numel())
    defaults = canonical(method.config)

    def watched(task: Task, config: Any) -> nn.Module:
        given = [*_data(task)]
        before = {name: tensor.clone() for name, tensor in given}
        scenario = canonical(task.scenario)
        settings = canonical(config)
        kinds: set[Any] = {type(part) for part in task.model.modules()}
        forwards = {kind: kind.forward for kind in kinds}
        watch.grant([*(tensor for _, tensor in given), *tensors_of(task.model)])
        with watch if watching else contextlib.nullcontext():
            model = method.unlearn(dataclasses.replace(task, untrained=_known(task, watch)), config)
        assert canonical(config) == settings, f"{where}: it changed its config"
        assert canonical(task.scenario) == scenario, f"{where}: it changed the scenario"
        changed = [name for name, tensor in given if not torch.equal(tensor, before[name])]
        assert not changed, f"{where}: it changed the data it was given: {changed}"
        for (
            kind,
            forward,
        ) in forwards.items():  # replaced on the class; call_of checks the model itself
            assert kind.forward is forward, f"{where}: it replaced forward of {kind.__name__}"
        return model

    spy = dataclasses.replace(method, unlearn=watched)
    try:
        call = call_of(
            world, spy, method.config, base.weights, rows=rows, probe=rows.forget, seed=1
        )
        product = call.carry_out()
    except MethodError as error:
        raise AssertionError(f"{where}: {error}") from error
    weights = product.weights
    change = product.changed or difference(product.probe, world.probed(weights, rows.forget))
    assert not change, f"{where}: {change}"
    assert canonical(method.config) == defaults, f"{where}: it changed its default config"
    assert not watch.foreign, (
        f"{where}: it used a tensor from outside its task: {watch.foreign}; expected its model, "
        f"its data, what it stored, task.untrained(), and what torch makes during the call"
    )
    seen = watch.flops / base.unit
    assert product.cost.passes >= seen / 2, (
        f"{where}: its work was not counted: {product.cost.passes:.0f} of about {seen:.0f} passes"
    )
    for name, logits in zip(("train", "test"), world.outputs(weights), strict=True):
        assert logits.isfinite().all(), f"{where}: logits on the {name} set are not finite"
    return {name: value.cpu().clone() for name, value in weights.items()}


def _known(task: Task, watch: Provenance) -> Any:
    """The task's ``untrained``, whose networks the watch knows."""

    def untrained() -> nn.Module:
        before = watch.foreign  # building a network may load tensors
        model = task.untrained()
        watch.foreign = before
        watch.grant(tensors_of(model))
        return model

    return untrained


def _data(task: Task) -> Iterator[tuple[str, Tensor]]:
    for name in ("retain", "forget", "held_out"):
        data = getattr(task, name)
        for column in ("images", "labels", "index", "augment"):
            yield f"{name}.{column}", getattr(data, column)
    yield from ((f"stored[{name!r}]", tensor) for name, tensor in task.stored.items())
