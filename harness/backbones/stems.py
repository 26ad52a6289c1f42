"""The small-image stem: a network's first layers, changed to keep the size of a small image."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from torch import nn

TOKENS_A_SIDE = 8
"""A network that cuts images into patches gets about this many of them in each direction."""

PATCH = 7
"""From this stride on, a convolution without overlap cuts patches: it is no stem."""

STEM_NAME = re.compile(r"stem|embed|conv|layer0|base_layer", re.IGNORECASE)
STEM_CONVOLUTIONS = 8
"""A part of a network with more convolutions than this is more than its stem."""


class UnfitError(Exception):
    """A network cannot be what is asked; the text is the reason."""


def patch_sizes(height: int, width: int) -> list[int]:
    """Sides of patches that tile an image: the one nearest to 8×8 of them, then all smaller ones.

    32 px: 4, 2, 1; 28 px: 4, 2, 1; 16 px: 2, 1.
    """
    common, side = math.gcd(height, width), min(height, width)
    tiling = [patch for patch in range(1, common + 1) if common % patch == 0]
    best = min(tiling, key=lambda patch: abs(math.log(side / patch / TOKENS_A_SIDE)))
    return [patch for patch in reversed(tiling) if patch <= best]


def shrink_stem(net: nn.Module) -> nn.Module:
    """The same network, its stem changed to keep the image's size.

    Convolutions of the stem with a stride or with large kernels become 3×3 with stride 1; its
    pools go. New kernels are drawn from the global generator at the scale of the old ones. A
    network that begins with a small convolution of stride 1 stays as it is.

    Raises UnfitError where no stem is found.
    """
    firsts = _first_convolutions(net)
    if not firsts:
        raise UnfitError("it has no convolution that could be its stem")
    side = max(_patch_side(layer) for layer in firsts.values())
    if side >= PATCH:
        raise UnfitError(f"it has no stem, but cuts the image into patches of {side} px")
    if all(_is_small(layer) for layer in firsts.values()):
        return net
    for name in [*firsts, *_later_strides(net, firsts)]:
        _keep_size(net, name)
    return net


def _first_convolutions(net: nn.Module) -> dict[str, nn.Conv2d]:
    """The convolutions that see the image, by name: timm tells, else the first one of all."""
    told = (getattr(net, "default_cfg", None) or {}).get("first_conv") or ()
    names = {told} if isinstance(told, str) else set(told)
    convolutions = {n: layer for n, layer in net.named_modules() if isinstance(layer, nn.Conv2d)}
    found = {name: layer for name, layer in convolutions.items() if name in names}
    return found or dict([*convolutions.items()][:1])


def _patch_side(layer: nn.Conv2d) -> int:
    """The side of the patches that a convolution without overlap cuts; 1 for any other one."""
    cuts = layer.kernel_size == layer.stride and layer.padding == (0, 0)
    return layer.stride[0] if cuts else 1


def _is_small(layer: nn.Conv2d) -> bool:
    return max(layer.kernel_size) <= 3 and max(layer.stride) == 1


def _later_strides(net: nn.Module, firsts: dict[str, nn.Conv2d]) -> Iterator[str]:
    """Names of the stem's other layers that make the image smaller, front to back."""
    for part in _stem_parts(net, next(iter(firsts))):
        for name, layer in net.get_submodule(part).named_modules(prefix=part):
            if name not in firsts and _stride(layer) > 1:
                yield name


def _stem_parts(net: nn.Module, first: str) -> list[str]:
    """Names of the module that is the stem, and of the single layers up to the first pool after."""
    pieces = first.split(".")
    prefixes = [".".join(pieces[:end]) for end in range(1, len(pieces))]
    stem = next((prefix for prefix in prefixes if _is_stem(net, prefix)), first)
    parent, _, own = stem.rpartition(".")
    siblings = [*net.get_submodule(parent).named_children()]
    place = [name for name, _ in siblings].index(own)
    parts = [stem]
    for name, sibling in siblings[place + 1 :]:
        layers = [*sibling.modules()]
        if sum(isinstance(layer, nn.Conv2d) for layer in layers) > 1:
            break
        parts.append(f"{parent}.{name}" if parent else name)
        if any(_is_pool(layer) for layer in layers):
            break
    return parts


def _is_stem(net: nn.Module, prefix: str) -> bool:
    layers = net.get_submodule(prefix).modules()
    count = sum(isinstance(layer, nn.Conv2d) for layer in layers)
    return count <= STEM_CONVOLUTIONS and bool(STEM_NAME.search(prefix.rpartition(".")[2]))


def _is_pool(layer: nn.Module) -> bool:
    return "Pool" in type(layer).__name__


def _stride(layer: nn.Module) -> int:
    if not isinstance(layer, nn.Conv2d) and not _is_pool(layer):
        return 1
    stride = getattr(layer, "stride", 1)
    return int(stride if isinstance(stride, int) else stride[0])


def _keep_size(net: nn.Module, name: str) -> None:
    """A convolution gets stride 1, and 3×3 kernels where they were larger; a pool goes."""
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
    if not getattr(layer, "same_pad", False):  # timm's convolutions that pad by themselves
        layer.padding = (1, 1)


def _redraw(layer: nn.Conv2d) -> None:
    """The convolution gets 3×3 kernels that keep the scale of its output."""
    old = layer.weight.detach()
    weight = old.new_empty(*old.shape[:2], 3, 3)
    ratio = math.sqrt(old[0].numel() / weight[0].numel())
    nn.init.normal_(weight, std=float(old.std()) * ratio)
    layer.weight = nn.Parameter(weight)
    layer.kernel_size = (3, 3)
    scale: Any = getattr(layer, "scale", None)
    if isinstance(scale, float):  # a norm-free network's 1/√fan-in
        layer.scale = scale * ratio  # type: ignore[assignment]
