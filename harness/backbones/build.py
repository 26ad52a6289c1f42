"""Finds out how any backbone, a plugin's or timm's, is built for images of any size."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.backbones.arguments import EXAMPLE, parse
from harness.backbones.stems import UnfitError, patch_sizes, shrink_stem
from harness.errors import UserError, unknown
from harness.seeds import seeded
from harness.specs.catalog import Backbone
from harness.specs.scenario import Stem

TILE = 32
"""Images are enlarged to multiples of this many pixels: most networks halve an image five times."""

TIMES = (1, 2, 4)
"""The multiples. At the last one a network costs about what it would cost with a small stem. Only
one that cannot work there either sees them at the size that it was made for."""

OWN_STEM = "its own stem"
"""What is told of a network that was to have the small stem, and has its own."""

TOLD = 120
"""Characters of a strange exception that an error repeats."""

Size = tuple[int, int]
"""Height and width in pixels."""


class Normalised(nn.Module):
    """A network behind its normalisation: images in [0, 1] go in, logits come out."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        net: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        seen: Size | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.seen = seen
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """The logits ``(n, classes)`` of images ``(n, c, h, w)`` in [0, 1]."""
        images = (images - self.mean) / self.std
        if self.seen is not None:
            images = F.interpolate(images, self.seen, mode="bilinear", align_corners=False)
        logits: Tensor = self.net(images)
        return logits


@dataclass(frozen=True)
class Design:
    """A way to build a network."""

    net: Callable[[], nn.Module]
    change: str = ""
    """What is unlike the network that was asked for; empty where nothing is."""
    seen: Size | None = None
    """The size to which images are scaled for the network, where it is not their own."""

    def build(self, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
        """A freshly initialised network; its weights depend on torch's global generator alone.

        Mean and standard deviation are those of each channel, in units of [0, 1].
        """
        return Normalised(self.net(), mean, std, self.seen)


@dataclass(frozen=True)
class _Order:
    """What is to be built."""

    base: str
    settings: Mapping[str, Any]
    shape: tuple[int, int, int]
    classes: int
    stem: Stem

    @property
    def size(self) -> Size:
        return self.shape[1:]


def design_backbone(
    name: str,
    backbones: Mapping[str, Backbone],
    *,
    shape: tuple[int, int, int],
    classes: int,
    stem: Stem,
) -> Design:
    """How to build a network for images ``shape`` = (c, h, w), tried on two of them.

    ``name`` is a plugin's or timm's, with settings in brackets. Where the own stem cannot work at
    this size the small one takes its place; where neither can, and where a network that is to have
    the small stem has none that could be made small, the images are enlarged. The trial leaves the
    global generators as they were.

    Raises UserError for a name that does not exist, malformed settings, and a network that cannot
    work on such images.
    """
    ways = designs(name, backbones, shape=shape, classes=classes, stem=stem)
    return ways[first_working(name, ways, shape=shape, classes=classes)]


def designs(
    name: str,
    backbones: Mapping[str, Backbone],
    *,
    shape: tuple[int, int, int],
    classes: int,
    stem: Stem,
) -> list[Design]:
    """The ways to build a network, the first choice first; none of them is tried.

    Raises UserError for a name that does not exist, and for malformed settings.
    """
    base, settings = parse(name)
    order = _Order(base, settings, shape, classes, stem)
    if base in backbones:
        return [*_plugin_ways(order, backbones[base])]
    if _is_timms(base):
        return [*_timm_ways(order)]
    import timm

    raise unknown("backbone", base, {*backbones, *timm.list_models()})


def first_working(
    name: str, ways: Sequence[Design], *, shape: tuple[int, int, int], classes: int
) -> int:
    """Which of the designs is the first that works on two images.

    Raises UserError where none does.
    """
    reasons = {}
    for number, design in enumerate(ways):
        try:
            with seeded(0, "trial of a backbone"):
                _try(design, shape, classes)
        except Exception as error:  # whatever a stranger's network raises
            reasons[design.change] = _reason(error)  # the exception would keep its network alive
        else:
            return number
    raise UserError(
        f"backbone {name!r} cannot work on {'x'.join(map(str, shape))} images: "
        f"{reasons.get(OWN_STEM) or next(iter(reasons.values()))}; "
        f"try other settings, as in {EXAMPLE}, or another backbone, such as 'resnet18'"
    )


def _plugin_ways(order: _Order, backbone: Backbone) -> Iterator[Design]:
    """A plugin's network as asked for, then with the small stem."""
    yield Design(partial(_given, order, backbone, order.stem))
    if order.stem == "own":
        yield Design(partial(_given, order, backbone, "small"), "the small stem")


def _given(order: _Order, backbone: Backbone, stem: Stem) -> nn.Module:
    channels, *size = order.shape
    net: Any = backbone.build(
        channels=channels, classes=order.classes, size=tuple(size), stem=stem, **order.settings
    )
    if not isinstance(net, nn.Module):
        raise UnfitError(f"its build returned {type(net).__name__}, not an nn.Module")
    return net


def _is_timms(name: str) -> bool:
    """Whether timm lists the network; behind a dot may be one of its sets of pretrained weights."""
    import timm

    try:
        timm.models.get_pretrained_cfg(name)
    except RuntimeError:
        return False
    return name.partition(".")[0] in timm.list_models()


def _timm_ways(order: _Order) -> Iterator[Design]:
    """How timm's network may be built, the first choice first."""
    height, width = (-(-side // TILE) * TILE for side in order.size)
    larger = ((height * times, width * times) for times in TIMES)
    sizes = [*dict.fromkeys([order.size, *larger])]
    if "img_size" in order.settings:
        size = order.settings["img_size"]
        yield _own(order, size if isinstance(size, tuple) else (size, size))
    elif "patch_size" in order.settings:
        yield from (_own(order, seen) for seen in sizes)
    elif order.stem == "own":
        for seen in sizes[:-1]:
            yield _own(order, seen)
            yield from _small(order, seen)
        yield from (_own(order, seen) for seen in (sizes[-1], *_native(order.base)))
    else:
        for seen in sizes[:-1]:
            yield from _small(order, seen)
        yield from (_own(order, seen) for seen in (*reversed(sizes), *_native(order.base)))


def _native(name: str) -> list[Size]:
    """The size of the images that timm's network was made for, if that is known."""
    import timm

    config = timm.models.get_pretrained_cfg(name)
    return [] if config is None else [config.input_size[-2:]]


def _own(order: _Order, seen: Size) -> Design:
    change = "" if order.stem == "own" else OWN_STEM
    return _scaled(order, seen, change, partial(_create, order, seen))


def _small(order: _Order, seen: Size) -> Iterator[Design]:
    """Networks of convolutions get a small stem; those that cut patches get smaller ones."""
    if not _is_fixed(order.base):
        change = "" if order.stem == "small" else "the small stem"
        yield _scaled(order, seen, change, lambda: shrink_stem(_create(order, seen)))
    for side in patch_sizes(*seen):
        net = partial(_create, order, seen, patch_size=side)
        yield _scaled(order, seen, f"patches of {side} px", net)


def _scaled(order: _Order, seen: Size, change: str, net: Callable[[], nn.Module]) -> Design:
    if seen == order.size:
        return Design(net, change)
    scaled = "images scaled to {}x{} px".format(*seen)
    return Design(net, f"{change}, {scaled}".removeprefix(", "), seen)


def _create(order: _Order, seen: Size, **settings: int) -> nn.Module:
    """Timm's network, without pretrained weights; the user's own settings prevail."""
    import timm

    size = {"img_size": seen} if _is_fixed(order.base) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what timm says of its own ways is no user's to mend
        net: nn.Module = timm.create_model(
            order.base,
            pretrained=False,
            in_chans=order.shape[0],
            num_classes=order.classes,
            **{**size, **settings, **order.settings},
        )
    return net


def _is_fixed(name: str) -> bool:
    """Whether timm's network is built for images of one size."""
    import timm

    config = timm.models.get_pretrained_cfg(name)
    return config is not None and bool(config.fixed_input_size)


@torch.no_grad()
def _try(design: Design, shape: tuple[int, int, int], classes: int) -> None:
    """Runs two images through a new network in both modes; raises what is wrong with it."""
    channels = shape[0]
    model = design.build([0.5] * channels, [0.25] * channels).to(memory_format=torch.channels_last)
    images = torch.rand(2, *shape).contiguous(memory_format=torch.channels_last)
    for training in (True, False):
        logits = model.train(training)(images)
        if not isinstance(logits, Tensor) or not logits.is_floating_point():
            raise UnfitError(f"it returns {type(logits).__name__}, not a tensor of logits")
        if logits.shape != (2, classes):
            raise UnfitError(f"it returns {tuple(logits.shape)} for two images, not {(2, classes)}")


def _reason(error: Exception) -> str:
    """An exception in a few words; one without a text is told by the line of code behind it."""
    lines = str(error).strip().splitlines()
    if isinstance(error, UnfitError):
        return lines[0]
    if not lines:
        inside = str(Path(torch.__file__).parent)
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.line or "" for frame in frames if not frame.filename.startswith(inside)][-1:]
    text = f"{type(error).__name__}: {lines[0]}"
    return text if len(text) <= TOLD else f"{text[: TOLD - 1]}…"
