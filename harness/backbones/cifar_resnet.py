"""The ResNets of CIFAR: three stages of basic blocks with 16, 32 and 64 channels."""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from harness.plugins.hookspecs import hookimpl
from harness.specs.catalog import Backbone

Shortcut = Literal["identity", "projection"]

WIDTHS = (16, 32, 64)
DEPTHS = (20, 32, 56)
"""Six layers for each block of a stage, and two more: 3, 5 and 9 blocks a stage."""


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut; the first one may halve the image."""

    def __init__(self, inside: int, outside: int, shortcut: Shortcut) -> None:
        super().__init__()
        stride = 1 if inside == outside else 2
        self.conv1 = _convolution(inside, outside, 3, stride)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = _convolution(outside, outside, 3, 1)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut: nn.Module = nn.Identity()
        if inside != outside:
            self.shortcut = (
                Padded(outside - inside)
                if shortcut == "identity"
                else nn.Sequential(
                    _convolution(inside, outside, 1, stride), nn.BatchNorm2d(outside)
                )
            )

    def forward(self, images: Tensor) -> Tensor:
        """``(n, inside, h, w)`` → ``(n, outside, h, w)``, or half of h and w."""
        inner = F.relu(self.bn1(self.conv1(images)))
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(images))


class Padded(nn.Module):
    """The identity at every second pixel, with further channels of zeros; it has no parameters."""

    def __init__(self, more: int) -> None:
        super().__init__()
        self.more = more

    def forward(self, images: Tensor) -> Tensor:
        """``(n, c, h, w)`` → ``(n, c + more, ⌈h / 2⌉, ⌈w / 2⌉)``; half of the zeros come first."""
        front = self.more // 2
        return F.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, front, self.more - front))


class CifarResNet(nn.Module):
    """A stem with 16 channels, the three stages, the mean over all pixels, and a linear layer."""

    def __init__(self, blocks: int, channels: int, classes: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _convolution(channels, WIDTHS[0], 3, 1), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()
        )
        stages: list[nn.Module] = []
        inside = WIDTHS[0]
        for outside in WIDTHS:
            for _ in range(blocks):
                stages.append(BasicBlock(inside, outside, shortcut))
                inside = outside
        self.blocks = nn.Sequential(*stages)
        self.fc = nn.Linear(inside, classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """The logits ``(n, classes)`` of images ``(n, channels, h, w)``."""
        pooled = self.blocks(self.stem(images)).mean(dim=(2, 3))
        logits: Tensor = self.fc(pooled)
        return logits


def _convolution(inside: int, outside: int, side: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, side, stride, padding=side // 2, bias=False)


def build(
    depth: int,
    /,  # so that no setting in brackets changes it: the backbone's name says it
    *,
    channels: int,
    classes: int,
    size: tuple[int, int],  # noqa: ARG001 - it takes images of any size
    stem: str,  # noqa: ARG001 - its own stem is the small one
    shortcut: str = "identity",
) -> nn.Module:
    """The network of this depth, newly initialised (He normal by fan-out, as is usual for it).

    ``shortcut`` is what stands beside a block that halves the image: ``identity``, padded with
    zeros, as in the paper, or ``projection``, a 1×1 convolution, as in many repositories. Raises
    ValueError for another one. He et al. 2016, section 4.2, https://arxiv.org/abs/1512.03385
    """
    for known in get_args(Shortcut):
        if shortcut == known:
            return CifarResNet((depth - 2) // 6, channels, classes, known)
    expected = " or ".join(get_args(Shortcut))
    raise ValueError(f"shortcut must be {expected}; got {shortcut!r}")


@hookimpl
def unlearning_backbones() -> list[Backbone]:
    """The networks with 20, 32 and 56 layers."""
    return [Backbone(f"cifar_resnet{depth}", partial(build, depth)) for depth in DEPTHS]
