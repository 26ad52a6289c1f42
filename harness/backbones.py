"""Builds any backbone, a plugin's or timm's, for images of any size: the same for the same seed."""

from __future__ import annotations

import ast
import copy
import re
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import UserError, unknown
from harness.seeds import seeded
from harness.specs import Backbone, Stem
from harness.stems import NoSmallStemError, patch_sizes, ragged_patch, shrink_stem

EXAMPLE = "'vit_tiny_patch16_224[img_size=32,patch_size=4]'"
RESERVED = frozenset(
    {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"}
    | {"in_chans", "num_classes", "features_only", "channels", "classes", "size", "stem"}
)
"""Arguments that are the harness's to give, or that would read weights from elsewhere."""

FACTORS = (4, 2)
"""How many times larger the images may be that a network of fixed size is built for, its stem then
making them so many times less small."""

TILE = 32
"""Images that nothing else fits get a border, up to the next multiple of this many pixels: most
networks halve an image five times."""

TOLD = 120
"""Characters of a strange exception that an error repeats."""


class Normalised(nn.Module):
    """A network behind its normalisation: images in [0, 1] go in, logits come out."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """The logits ``(n, classes)`` of images ``(n, c, h, w)`` in [0, 1]."""
        logits: Tensor = self.net((images - self.mean) / self.std)
        return logits


class Bordered(nn.Module):
    """A network for larger images, which sees each image on a border of zeros."""

    def __init__(self, net: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.net = net
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """The logits ``(n, classes)`` of normalised images ``(n, c, h, w)``, no larger than size."""
        down, right = (
            large - small for large, small in zip(self.size, images.shape[-2:], strict=True)
        )
        border = (right // 2, right - right // 2, down // 2, down - down // 2)
        logits: Tensor = self.net(F.pad(images, border))
        return logits


class _UnfitError(Exception):
    """A network was built, but does not do what is asked; the text is the reason."""


class _Way(NamedTuple):
    """One way to build a network."""

    stem: Stem
    build: Callable[[], nn.Module]


@dataclass(frozen=True)
class _Order:
    """What is to be built."""

    name: str
    """As the user wrote it."""
    base: str
    settings: Mapping[str, Any]
    shape: tuple[int, int, int]
    classes: int
    stem: Stem

    @property
    def size(self) -> tuple[int, int]:
        return self.shape[1:]


def build_backbone(
    name: str,
    backbones: Mapping[str, Backbone],
    *,
    shape: tuple[int, int, int],
    classes: int,
    stem: Stem,
    mean: Sequence[float],
    std: Sequence[float],
) -> nn.Module:
    """A freshly initialised network for images ``shape`` = (c, h, w) in [0, 1].

    ``name`` is a plugin's or timm's, with settings in brackets. Weights depend on torch's global
    generator alone. Where the own stem cannot work at this size the small one takes its place, and
    where neither can, the image gets a border. The network has been tried on two images, of which
    nothing is left in it.

    Raises UserError for a name that does not exist, malformed settings, and a network that cannot
    work on such images.
    """
    base, settings = _parse(name)
    order = _Order(name, base, settings, shape, classes, stem)
    if base in backbones:
        ways: Iterable[_Way] = [_Way(stem, partial(_given, backbones[base], order))]
    elif timm.is_model(base):
        ways = _timm_ways(order)
    else:
        raise unknown("backbone", base, {*backbones, *timm.list_models()})
    return Normalised(_first_that_works(ways, order), mean, std)


def _parse(name: str) -> tuple[str, dict[str, Any]]:
    """The name before the brackets, and the settings in them: Python literals or bare words."""
    match = re.fullmatch(r"([^\[\]]+)(?:\[(.*)\])?", name, re.DOTALL)
    try:
        if match is None:
            raise ValueError("malformed brackets")  # noqa: TRY301
        settings = dict(_setting(item) for item in _arguments(match[2] or ""))
    except ValueError as error:
        raise UserError(f"backbone {name!r}: {error}; write it like {EXAMPLE}") from None
    return match[1], settings


def _arguments(text: str) -> list[ast.keyword]:
    try:
        call = ast.parse(f"f({text})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError("malformed settings") from None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise ValueError("expected key=value in the brackets")
    return call.keywords


def _setting(item: ast.keyword) -> tuple[str, Any]:
    key, value = item.arg, item.value
    if key is None:
        raise ValueError("expected key=value in the brackets")
    if key in RESERVED:
        raise ValueError(f"{key} is the harness's to give, leave it out")
    if isinstance(value, ast.Name):
        if value.id.capitalize() in ("True", "False", "None"):
            raise ValueError(f"{key}={value.id}: capitalise it, {value.id.capitalize()}")
        return key, value.id
    try:
        return key, ast.literal_eval(value)
    except (ValueError, TypeError):
        raise ValueError(f"{key}: expected a number, True, False or a 'string'") from None


def _given(backbone: Backbone, order: _Order) -> nn.Module:
    net = backbone.build(
        channels=order.shape[0],
        classes=order.classes,
        size=order.size,
        stem=order.stem,
        **order.settings,
    )
    if not isinstance(net, nn.Module):
        raise _UnfitError(f"its build returned {type(net).__name__}, not an nn.Module")
    return net


def _timm_ways(order: _Order) -> Iterator[_Way]:
    """How timm's network may be built, the first choice first."""
    yield from _ways_at(order)
    channels, *size = order.shape
    height, width = (-(-side // TILE) * TILE for side in size)
    if (height, width) != order.size:
        for stem, build in _ways_at(replace(order, shape=(channels, height, width))):
            yield _Way(stem, lambda build=build: Bordered(build(), (height, width)))


def _ways_at(order: _Order) -> Iterator[_Way]:
    config = timm.models.get_pretrained_cfg(order.base)
    fixed = config is not None and config.fixed_input_size
    given = "patch_size" in order.settings
    if order.stem == "own" or (fixed and given):
        yield _Way("own", partial(_own, order, fixed=fixed))
    cut = [] if given else patch_sizes(*order.size)
    cuts = [_Way("small", partial(_create, order, fixed=fixed, patch_size=side)) for side in cut]
    if not fixed:
        yield _Way("small", partial(_shrunk, order, None))
        yield from cuts
    elif not given:
        yield from cuts
        yield from (_Way("small", partial(_shrunk, order, factor)) for factor in FACTORS)


def _create(order: _Order, *, fixed: bool, factor: int = 1, **settings: int) -> nn.Module:
    """Timm's network for images ``factor`` times as large; the user's own settings prevail."""
    size = {"img_size": tuple(side * factor for side in order.size)} if fixed else {}
    net: nn.Module = timm.create_model(
        order.base,
        in_chans=order.shape[0],
        num_classes=order.classes,
        **{**size, **settings, **order.settings},
    )
    return net


def _own(order: _Order, *, fixed: bool) -> nn.Module:
    net = _create(order, fixed=fixed)
    side = ragged_patch(net, *order.size)
    if side:
        raise _UnfitError(f"its patches of {side} px do not tile the image")
    return net


def _shrunk(order: _Order, factor: int | None) -> nn.Module:
    return shrink_stem(_create(order, fixed=factor is not None, factor=factor or 1), factor)


def _first_that_works(ways: Iterable[_Way], order: _Order) -> nn.Module:
    """The first network that stands the trial; each way begins with the same random numbers.

    Raises UserError where none does.
    """
    failures: dict[Stem, list[Exception]] = {}
    state = torch.get_rng_state()
    for stem, build in ways:
        torch.set_rng_state(state)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                net = build()
                _try(net, order)
        except Exception as error:
            failures.setdefault(stem, []).append(error)
        else:
            return net
    told = "; with the small stem: ".join(dict.fromkeys(map(_reason, failures.values())))
    images = "{}x{}x{} images".format(*order.shape)
    raise UserError(
        f"backbone {order.name!r} cannot work on {images}: {told}; "
        f"try other settings, as in {EXAMPLE}, or another backbone, such as 'resnet18'"
    )


def _try(net: nn.Module, order: _Order) -> None:
    """Runs a copy of the network on two images in both modes; raises what is wrong with it."""
    trial = copy.deepcopy(net).to(memory_format=torch.channels_last)
    with seeded(0, "trial of a backbone"), torch.no_grad():
        images = torch.randn(2, *order.shape).contiguous(memory_format=torch.channels_last)
        for training in (False, True):
            logits = trial.train(training)(images)
            if not isinstance(logits, Tensor) or not logits.is_floating_point():
                raise _UnfitError(f"it returns {type(logits).__name__}, not a tensor of logits")
            if logits.shape != (2, order.classes):
                raise _UnfitError(
                    f"it returns {tuple(logits.shape)} for two images, not {(2, order.classes)}"
                )


def _reason(errors: list[Exception]) -> str:
    """The most telling of some exceptions in a few words.

    That is the first which is no TypeError (an argument that the network does not take). One
    without a text is told by the line of code that raised it.
    """
    error = next((e for e in errors if not isinstance(e, TypeError)), errors[0])
    lines = str(error).strip().splitlines()
    if isinstance(error, _UnfitError | NoSmallStemError):
        return lines[0]
    if not lines:
        inside = str(Path(torch.__file__).parent)
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.line or "" for frame in frames if not frame.filename.startswith(inside)][-1:]
    text = f"{type(error).__name__}: {lines[0]}"
    return text if len(text) <= TOLD else f"{text[: TOLD - 1]}…"
