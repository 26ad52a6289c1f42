"""The small-image stem: a network's first layers, cut down for images of about 32 px."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from torch import nn

TOKENS_A_SIDE = 8
"""A network that cuts images into patches gets about this many of them in each direction."""

PATCH = 7
"""From this stride on, a convolution without overlap cuts patches: it is no stem."""

STEM_NAME = re.compile(r"stem|embed|conv|layer0|base_layer", re.IGNORECASE)
STEM_CONVOLUTIONS = 8
"""A part of a network with more convolutions than this is more than its stem."""


class NoSmallStemError(Exception):
    """The network's stem cannot be cut down; the text is the reason."""


def patch_sizes(height: int, width: int) -> list[int]:
    """Sides of patches that tile an image: the one nearest to 8×8 of them, then all smaller ones.

    32 px: 4, 2, 1; 28 px: 4, 2, 1; 16 px: 2, 1.
    """
    common, side = math.gcd(height, width), min(height, width)
    tiling = [patch for patch in range(1, common + 1) if common % patch == 0]
    best = min(tiling, key=lambda patch: abs(math.log(side / patch / TOKENS_A_SIDE)))
    return [patch for patch in reversed(tiling) if patch <= best]


def ragged_patch(net: nn.Module, height: int, width: int) -> int:
    """The side of the network's patches where they do not tile the image, else 0.

    Such a network may run, but never sees a border of the image.
    """
    for layer in _first_convolutions(net).values():
        side = _patch_side(layer)
        if side > 1 and (height % side or width % side):
            return side
    return 0


def shrink_stem(net: nn.Module, factor: int | None = None) -> nn.Module:
    """The same network, its stem changed to make an image ``factor`` times less small.

    Without a factor it keeps the image's size. The first convolution becomes 3×3 with stride 1;
    front to back, further strides of the stem become 1 and its pools go, until the factor is
    reached. New kernels are drawn from the global generator at the scale of the old ones.

    Raises NoSmallStemError where no stem is found, or none with this factor in it.
    """
    firsts = _first_convolutions(net)
    if not firsts:
        raise NoSmallStemError("which of its layers is the stem is not known")
    side = max(_patch_side(layer) for layer in firsts.values())
    if side >= PATCH:
        raise NoSmallStemError(f"it cuts the image into patches of {side} px")
    steps = [*_steps(net, firsts)]
    left = factor or math.prod(stride for _, stride in steps)
    if left == 1 and all(layer.kernel_size <= (3, 3) for layer in firsts.values()):
        raise NoSmallStemError("its stem does not make the image smaller")
    for names, stride in steps:
        if left % stride == 0:
            left //= stride
            for name in names:
                _unstride(net, name)
    if left > 1:
        raise NoSmallStemError("its stem does not make the image that much smaller")
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


def _steps(net: nn.Module, firsts: dict[str, nn.Conv2d]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Names and stride of what makes the image smaller in the stem, front to back.

    Parallel first convolutions are one step. It comes first, whatever its stride.
    """
    yield tuple(firsts), max(layer.stride[0] for layer in firsts.values())
    for part in _stem_parts(net, next(iter(firsts))):
        for name, layer in net.get_submodule(part).named_modules(prefix=part):
            stride = _stride(layer)
            if stride > 1 and name not in firsts:
                yield (name,), stride


def _stem_parts(net: nn.Module, first: str) -> Iterator[str]:
    """Names of the module that is the stem, and of the single layers up to the first pool after."""
    pieces = first.split(".")
    prefixes = [".".join(pieces[:end]) for end in range(1, len(pieces))]
    stem = next((prefix for prefix in prefixes if _is_stem(net, prefix)), first)
    yield stem
    parent, _, own = stem.rpartition(".")
    children = dict(net.get_submodule(parent).named_children())
    after = [*children][[*children].index(own) + 1 :]
    for name in after:
        kinds = [*children[name].modules()]
        if sum(isinstance(layer, nn.Conv2d) for layer in kinds) > 1:
            return
        yield f"{parent}.{name}" if parent else name
        if any("Pool" in type(layer).__name__ for layer in kinds):
            return


def _is_stem(net: nn.Module, prefix: str) -> bool:
    layers = net.get_submodule(prefix).modules()
    count = sum(isinstance(layer, nn.Conv2d) for layer in layers)
    return count <= STEM_CONVOLUTIONS and bool(STEM_NAME.search(prefix.rpartition(".")[2]))


def _stride(layer: nn.Module) -> int:
    if not isinstance(layer, nn.Conv2d) and "Pool" not in type(layer).__name__:
        return 1
    stride = getattr(layer, "stride", 1)
    return int(stride if isinstance(stride, int) else stride[0])


def _unstride(net: nn.Module, name: str) -> None:
    """A convolution gets stride 1, and 3×3 kernels where they were larger; a pool goes."""
    layer = net.get_submodule(name)
    if not isinstance(layer, nn.Conv2d):
        net.set_submodule(name, nn.Identity())
        return
    layer.stride = (1, 1)
    if layer.kernel_size == (1, 1):
        return
    if layer.kernel_size != (3, 3):
        old, fan_in = layer.weight, layer.weight[0].numel()
        weight = old.new_empty(*old.shape[:2], 3, 3)
        ratio = math.sqrt(fan_in / weight[0].numel())
        nn.init.normal_(weight, std=float(old.detach().std()) * ratio)
        layer.weight = nn.Parameter(weight)
        layer.kernel_size = (3, 3)
        if isinstance(getattr(layer, "scale", None), float):  # a norm-free network's 1/√fan-in
            layer.scale = layer.scale * ratio
    layer.dilation = (1, 1)
    if not getattr(layer, "same_pad", False):  # timm's convolutions that pad by themselves
        layer.padding = (1, 1)
