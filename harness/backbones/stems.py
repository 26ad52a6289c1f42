"""The small-image stem: a network's first layers, changed to keep the size of a small image."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from torch import nn

TOKENS_A_SIDE = 8
"""A network that cuts images into patches gets about this many along each side."""

PATCH = 7
"""A convolution without overlap and with at least this stride cuts patches; it is not a stem."""

STEM_NAME = re.compile(r"stem|embed|conv|layer0|base_layer", re.IGNORECASE)
STEM_CONVOLUTIONS = 8
"""A module with more convolutions than this is more than a stem."""


class UnfitError(Exception):
    """A network cannot be built as asked; the text is the reason."""


def patch_sizes(height: int, width: int) -> list[int]:
    """Sides of patches that tile an image: the one nearest to 8×8 of them, then all smaller.

    32 px: 4, 2, 1; 28 px: 4, 2, 1; 16 px: 2, 1.
    """
    common, side = math.gcd(height, width), min(height, width)
    tiling = [patch for patch in range(1, common + 1) if common % patch == 0]
    best = min(tiling, key=lambda patch: abs(math.log(side / patch / TOKENS_A_SIDE)))
    return [patch for patch in reversed(tiling) if patch <= best]


def shrink_stem(net: nn.Module) -> nn.Module:
    """The same network, its stem changed to keep the image's size.

    The stem's convolutions with a stride or large kernels become 3×3 with stride 1, and its pools
    are removed. New kernels are drawn from the global generator at the scale of the old ones. A
    network that begins with a small convolution of stride 1 is left as it is.

    Raises UnfitError where no stem is found.
    """
    entrances = _entrances(net)
    if not entrances:
        raise UnfitError("it has no convolution that could be its stem")
    side = max(_patch_side(layer) for layer in entrances.values())
    if side >= PATCH:
        raise UnfitError(f"it has no stem, but cuts the image into patches of {side} px")
    if all(_is_small(layer) for layer in entrances.values()):
        return net
    for name in [*entrances, *_later_strides(net, entrances)]:
        _keep_size(net, name)
    return net


def _entrances(net: nn.Module) -> dict[str, nn.Conv2d]:
    """Name → convolution that sees the image: those that timm names, else the network's first."""
    named = (getattr(net, "default_cfg", None) or {}).get("first_conv") or ()
    names = {named} if isinstance(named, str) else set(named)
    convolutions = {n: layer for n, layer in net.named_modules() if isinstance(layer, nn.Conv2d)}
    found = {name: layer for name, layer in convolutions.items() if name in names}
    return found or dict([*convolutions.items()][:1])


def _patch_side(layer: nn.Conv2d) -> int:
    """The side of the patches that a convolution without overlap cuts; 1 for any other."""
    cuts = layer.kernel_size == layer.stride and layer.padding == (0, 0)
    return layer.stride[0] if cuts else 1


def _is_small(layer: nn.Conv2d) -> bool:
    return max(layer.kernel_size) <= 3 and max(layer.stride) == 1


def _later_strides(net: nn.Module, entrances: dict[str, nn.Conv2d]) -> Iterator[str]:
    """Names of the stem's other layers that shrink the image, front to back."""
    for part in _stem_parts(net, next(iter(entrances))):
        for name, layer in net.get_submodule(part).named_modules(prefix=part):
            if name not in entrances and _stride(layer) > 1:
                yield name


def _stem_parts(net: nn.Module, entrance: str) -> list[str]:
    """Names of the stem's module, and of the single layers after it up to the first pool.

    The stem is the outermost module around the entrance that is named like one and small enough;
    without such a module, the entrance alone.
    """
    pieces = entrance.split(".")
    around = [".".join(pieces[:end]) for end in range(1, len(pieces))]
    stem = next((module for module in around if _is_stem(net, module)), entrance)
    parent, _, last = stem.rpartition(".")
    siblings = [*net.get_submodule(parent).named_children()]
    position = [name for name, _ in siblings].index(last)
    parts = [stem]
    for name, sibling in siblings[position + 1 :]:
        layers = [*sibling.modules()]
        if sum(isinstance(layer, nn.Conv2d) for layer in layers) > 1:
            break
        parts.append(f"{parent}.{name}" if parent else name)
        if any(_is_pool(layer) for layer in layers):
            break
    return parts


def _is_stem(net: nn.Module, name: str) -> bool:
    layers = net.get_submodule(name).modules()
    count = sum(isinstance(layer, nn.Conv2d) for layer in layers)
    return count <= STEM_CONVOLUTIONS and bool(STEM_NAME.search(name.rpartition(".")[2]))


def _is_pool(layer: nn.Module) -> bool:
    return "Pool" in type(layer).__name__


def _stride(layer: nn.Module) -> int:
    if not isinstance(layer, nn.Conv2d) and not _is_pool(layer):
        return 1
    stride = getattr(layer, "stride", 1)
    return int(stride if isinstance(stride, int) else stride[0])


def _keep_size(net: nn.Module, name: str) -> None:
    """Gives a convolution stride 1, and 3×3 kernels where they were larger; removes a pool."""
    layer = net.get_submodule(name)
    if not isinstance(layer, nn.Conv2d):
        net.set_submodule(name, nn.Identity())
        return
    layer.stride = (1, 1)
    if layer.kernel_size == (1, 1):
        return
    if layer.kernel_size != (3, 3):
        _redraw(layer)
    layer.dilation = (1, 1)
    if not getattr(layer, "same_pad", False):  # one of timm's that pads by itself
        layer.padding = (1, 1)


def _redraw(layer: nn.Conv2d) -> None:
    """Gives the convolution 3×3 kernels that keep the scale of its output."""
    old = layer.weight.detach()
    weight = old.new_empty(*old.shape[:2], 3, 3)
    ratio = math.sqrt(old[0].numel() / weight[0].numel())
    nn.init.normal_(weight, std=float(old.std()) * ratio)
    layer.weight = nn.Parameter(weight)
    layer.kernel_size = (3, 3)
    scale: Any = getattr(layer, "scale", None)
    if isinstance(scale, float):  # a norm-free network's 1/√fan-in
        layer.scale = scale * ratio  # type: ignore[assignment]
