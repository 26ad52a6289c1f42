"""The candidates: how a plugin's or timm's backbone may be built for images of any size."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.backbones.arguments import parse
from harness.backbones.stems import UnfitError, patch_sizes, shrink_stem
from harness.errors import UserError, unknown
from harness.specs.catalog import Backbone
from harness.specs.scenario import Stem

TILE = 32
"""Images are enlarged to multiples of this many pixels: most networks halve an image five times."""

TIMES = (1, 2, 4)
"""The multiples. At the last one a network costs about what it would cost with a small stem."""

OWN_STEM = "its own stem"
"""The change of a network that was asked for with the small stem and keeps its own."""

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
        input_size: Size | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.input_size = input_size
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """The logits ``(n, classes)`` of images ``(n, c, h, w)`` in [0, 1]."""
        images = (images - self.mean) / self.std
        if self.input_size is not None:
            images = F.interpolate(images, self.input_size, mode="bilinear", align_corners=False)
        logits: Tensor = self.net(images)
        return logits


@dataclass(frozen=True)
class Design:
    """One way to build a network."""

    net: Callable[[], nn.Module]
    change: str = ""
    """How it differs from the network that was asked for; empty where it does not."""
    input_size: Size | None = None
    """The size to which images are scaled for the network; None: their own."""
    of_plugin: bool = False
    """Whether a plugin builds the network."""

    def build(self, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
        """A freshly initialised network; its weights depend on torch's global generator alone.

        Mean and standard deviation are per channel, in units of [0, 1].
        """
        return Normalised(self.net(), mean, std, self.input_size)


@dataclass(frozen=True)
class _Wanted:
    """The network that was asked for."""

    name: str
    settings: Mapping[str, Any]
    shape: tuple[int, int, int]
    classes: int
    stem: Stem

    @property
    def size(self) -> Size:
        return self.shape[1:]


def designs(
    name: str,
    backbones: Mapping[str, Backbone],
    *,
    shape: tuple[int, int, int],
    classes: int,
    stem: Stem,
) -> list[Design]:
    """The candidates, in the order in which they are to be tried; none is built yet.

    ``name`` is a plugin's or timm's, with settings in brackets; ``shape`` is that of one image,
    (c, h, w).

    Raises UserError for an unknown name or malformed settings.
    """
    base, settings = parse(name)
    wanted = _Wanted(base, settings, shape, classes, stem)
    if base in backbones:
        return _plugin_designs(wanted, backbones[base])
    if _is_timms(base):
        return _timm_designs(wanted)
    import timm

    raise unknown("backbone", base, {*backbones, *timm.list_models()})


def _plugin_designs(wanted: _Wanted, backbone: Backbone) -> list[Design]:
    """A plugin's network as asked for, then with the small stem."""
    _check_settings(wanted, backbone)
    asked = Design(partial(_plugin_net, wanted, backbone, wanted.stem), of_plugin=True)
    if wanted.stem == "small":
        return [asked]
    small = partial(_plugin_net, wanted, backbone, "small")
    return [asked, Design(small, "the small stem", of_plugin=True)]


def _check_settings(wanted: _Wanted, backbone: Backbone) -> None:
    """Raises UserError for a setting that the plugin's ``build`` does not take."""
    try:
        parameters = inspect.signature(backbone.build).parameters.values()
    except (TypeError, ValueError):  # some callables have no signature
        return
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return
    named = {each.name for each in parameters if each.kind is not each.POSITIONAL_ONLY}
    settings = named - {"channels", "classes", "size", "stem"}
    for name in wanted.settings:
        if name not in settings:
            raise UserError(f"backbone {backbone.name!r}: {unknown('setting', name, settings)}")


def _plugin_net(wanted: _Wanted, backbone: Backbone, stem: Stem) -> nn.Module:
    channels, *size = wanted.shape
    net: Any = backbone.build(
        channels=channels, classes=wanted.classes, size=tuple(size), stem=stem, **wanted.settings
    )
    if not isinstance(net, nn.Module):
        raise UnfitError(f"its build returned {type(net).__name__}, not an nn.Module")
    return net


def _timm_designs(wanted: _Wanted) -> list[Design]:
    """What the user has set stands; else the least change that works is found first."""
    if "img_size" in wanted.settings:
        size = wanted.settings["img_size"]
        return [_with_own_stem(wanted, size if isinstance(size, tuple) else (size, size))]
    sizes = _input_sizes(wanted.size)
    if "patch_size" in wanted.settings:
        return [_with_own_stem(wanted, size) for size in sizes]
    if wanted.stem == "own":
        return _own_stem_first(wanted, sizes)
    return _small_stem_first(wanted, sizes)


def _input_sizes(size: Size) -> list[Size]:
    """The images' own size, then larger ones, ascending: 28 px gives 28, 32, 64 and 128."""
    height, width = (-(-side // TILE) * TILE for side in size)
    enlarged = [(height * times, width * times) for times in TIMES]
    return [*dict.fromkeys([size, *enlarged])]


def _own_stem_first(wanted: _Wanted, sizes: Sequence[Size]) -> list[Design]:
    """At each size the own stem, then a small one; the next size only where neither works.

    At the largest size a small stem would cost too much. Last comes the size that the network was
    made for.
    """
    *smaller, largest = sizes
    found: list[Design] = []
    for size in smaller:
        found += [_with_own_stem(wanted, size), *_with_small_stem(wanted, size)]
    return [*found, *(_with_own_stem(wanted, size) for size in (largest, *_made_for(wanted.name)))]


def _small_stem_first(wanted: _Wanted, sizes: Sequence[Size]) -> list[Design]:
    """A small stem at the smallest size; where none can be made, the own stem at the largest.

    Enlarged images do for an own stem what a small stem does: the network halves what is large.
    """
    found = [design for size in sizes[:-1] for design in _with_small_stem(wanted, size)]
    rest = (*reversed(sizes), *_made_for(wanted.name))
    return [*found, *(_with_own_stem(wanted, size) for size in rest)]


def _with_own_stem(wanted: _Wanted, size: Size) -> Design:
    change = "" if wanted.stem == "own" else OWN_STEM
    return _scaled(wanted, size, change, partial(_timm_net, wanted, size))


def _with_small_stem(wanted: _Wanted, size: Size) -> list[Design]:
    """A small stem, for a convolutional network, and then patches of each smaller size.

    Only the trial shows which of them a network takes: it raises at an argument that it lacks.
    """
    found: list[Design] = []
    if not _is_fixed(wanted.name):
        change = "" if wanted.stem == "small" else "the small stem"
        found.append(_scaled(wanted, size, change, lambda: shrink_stem(_timm_net(wanted, size))))
    for side in patch_sizes(*size):
        net = partial(_timm_net, wanted, size, patch_size=side)
        found.append(_scaled(wanted, size, f"patches of {side} px", net))
    return found


def _scaled(wanted: _Wanted, size: Size, change: str, net: Callable[[], nn.Module]) -> Design:
    """The design of a network for images of this size, which may not be their own."""
    if size == wanted.size:
        return Design(net, change)
    scaled = "images scaled to {}x{} px".format(*size)
    return Design(net, f"{change}, {scaled}".removeprefix(", "), size)


def _timm_net(wanted: _Wanted, size: Size, **settings: int) -> nn.Module:
    """Timm's network without pretrained weights; the user's settings take precedence."""
    import timm

    built_for = {"img_size": size} if _is_fixed(wanted.name) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm's warnings about its own code are not actionable
        net: nn.Module = timm.create_model(
            wanted.name,
            pretrained=False,
            in_chans=wanted.shape[0],
            num_classes=wanted.classes,
            **{**built_for, **settings, **wanted.settings},
        )
    return net


def _is_timms(name: str) -> bool:
    """Whether timm lists the network; a dot may be followed by a tag of pretrained weights."""
    import timm

    try:
        timm.models.get_pretrained_cfg(name)
    except RuntimeError:
        return False
    return name.partition(".")[0] in timm.list_models()


def _is_fixed(name: str) -> bool:
    """Whether timm's network is built for images of one size."""
    import timm

    config = timm.models.get_pretrained_cfg(name)
    return config is not None and bool(config.fixed_input_size)


def _made_for(name: str) -> list[Size]:
    """The size of the images that timm's network was made for, if it is known."""
    import timm

    config = timm.models.get_pretrained_cfg(name)
    return [] if config is None else [config.input_size[-2:]]
