"""Builds any backbone for small images: a plugin's, or any model of timm by its name."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn

from harness.errors import UserError, unknown
from harness.specs import Backbone, Stem

EXAMPLE = "vit_tiny_patch16_224[img_size=32,patch_size=4]"


class Normalised(nn.Module):
    """A network for images in [0, 1]: it normalises them itself."""

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.net = net
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """The logits ``(n, classes)`` of ``(n, c, h, w)`` images in [0, 1]."""
        logits: Tensor = self.net((images - self.mean) / self.std)
        return logits


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
    """A freshly initialised network for images of this shape (c, h, w), tried on two of them.

    ``name`` may carry arguments for its builder, ``name[key=value,key=value]``. With the stem
    ``own`` a network whose own stem cannot run at this size gets the small one. Weights depend on
    torch's global generator alone. Raises UserError for an unknown name, and where the network
    cannot be built for, or run on, such images.
    """
    plain, arguments = _parse(name)
    make = _maker(plain, backbones, shape, classes, arguments)
    state = torch.random.get_rng_state()
    reasons = []
    for kind in ("own", "small") if stem == "own" else ("small",):
        torch.random.set_rng_state(state)
        try:
            model = Normalised(make(kind), mean, std)
            drawn = torch.random.get_rng_state()
            _try(model, shape, classes)
        except Exception as error:  # whatever a network of a stranger raises
            reasons.append(f"{kind} stem: {type(error).__name__}: {_first_line(error)}")
            continue
        torch.random.set_rng_state(drawn)
        return model
    size = "×".join(map(str, shape))
    raise UserError(
        f"backbone {name!r} cannot work on {size} images ({'; '.join(reasons)}); try one for small "
        f"images, such as 'resnet18', or give its arguments, as in {EXAMPLE!r}"
    )


def _parse(name: str) -> tuple[str, dict[str, Any]]:
    found = re.fullmatch(r"([^\[\]]+)(?:\[([^\[\]]*)\])?", name)
    if not found:
        raise UserError(f"backbone {name!r}: expected NAME or NAME[key=value,…], as {EXAMPLE!r}")
    arguments = {}
    for part in filter(None, (found[2] or "").split(",")):
        key, equals, text = (word.strip() for word in part.partition("="))
        if not equals or not key.isidentifier() or not text:
            raise UserError(f"backbone {name!r}: {part!r} is no key=value, as in {EXAMPLE!r}")
        try:
            arguments[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            arguments[key] = text
    return found[1], arguments


def _maker(
    name: str,
    backbones: Mapping[str, Backbone],
    shape: tuple[int, int, int],
    classes: int,
    arguments: dict[str, Any],
) -> Callable[[Stem], nn.Module]:
    channels, *size = shape
    if name in backbones:
        return lambda stem: _module(
            backbones[name].build(
                channels=channels, classes=classes, size=tuple(size), stem=stem, **arguments
            )
        )
    if not timm.is_model(name):
        raise unknown("backbone", name, [*backbones, *timm.list_models()])
    common = {"in_chans": channels, "num_classes": classes, **arguments}
    return lambda stem: _from_timm(name, tuple(size), stem, common)


def _module(built: Any) -> nn.Module:
    if not isinstance(built, nn.Module):
        raise TypeError(f"its build gave {built!r}; expected an nn.Module")
    return built


def _from_timm(
    name: str, size: tuple[int, ...], stem: Stem, arguments: dict[str, Any]
) -> nn.Module:
    config = timm.models.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        arguments = {"img_size": size, **arguments}
        if stem == "small" and "patch" in name:
            arguments = {"patch_size": max(1, min(size) // 8 or 1), **arguments}
    model: nn.Module = timm.create_model(name, pretrained=False, **arguments)
    if stem == "small" and "img_size" not in arguments:
        _shrink_stem(model)
    return model


def _shrink_stem(model: nn.Module) -> None:
    """Makes the first convolution 3×3 with stride 1, and takes out the max-pool behind it."""
    first = getattr(model, "default_cfg", {}).get("first_conv")
    path = str(first[0] if isinstance(first, tuple | list) else first or "")
    old = model.get_submodule(path)
    if not isinstance(old, nn.Conv2d):
        raise TypeError("it has no first convolution to make smaller")
    new = type(old)(
        old.in_channels,
        old.out_channels,
        3,
        padding=1,
        groups=old.groups,
        bias=old.bias is not None,
    )
    parent, _, leaf = path.rpartition(".")
    setattr(model.get_submodule(parent), leaf, new)
    siblings = model.get_submodule(parent)
    if isinstance(siblings, nn.Sequential) and parent:
        for module in siblings.modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)
    if isinstance(getattr(model, "maxpool", None), nn.Module):
        model.maxpool = nn.Identity()


@torch.no_grad()
def _try(model: nn.Module, shape: tuple[int, int, int], classes: int) -> None:
    """Runs two images through a copy of the network, in both modes."""
    trial = copy.deepcopy(model)
    images = torch.rand(2, *shape)
    for training in (False, True):
        found = trial.train(training)(images)
        if not isinstance(found, Tensor) or found.shape != (2, classes):
            what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"it gave {what}; expected logits (2, {classes})")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return lines[0][:150]
