"""The ResNet-18 of AMUN's experiments, a backbone for images of 32 pixels.

Ebrahimpour-Boroojeny, Sundaram, Chandrasekaran, ICML 2025, https://arxiv.org/abs/2503.00917. It
differs from torchvision's in its first layer, a 3×3 convolution with stride 1 and without a pool,
and in the three blocks whose shortcut is a projection: there the sum of both branches is halved
before the ReLU. The authors wrap each BatchNorm in a spectral norm that clips nothing in these
experiments; it is left out.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from harness import Backbone, hookimpl

WIDTHS = (64, 128, 256, 512)
"""Channels of the four stages, of two blocks each."""


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a projection where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.projection: nn.Module | None = None
        if stride != 1 or channels != width:
            self.projection = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, images: Tensor) -> Tensor:
        """Maps ``(n, channels, h, w)`` to ``(n, width, h / stride, w / stride)``."""
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(images)))))
        if self.projection is None:
            return F.relu(branch + images)
        return F.relu((branch + self.projection(images)) / 2)


def resnet18(
    *,
    channels: int,
    classes: int,
    size: tuple[int, int],  # noqa: ARG001 - it takes images of any size
    stem: str,  # noqa: ARG001 - its own is the small one
) -> nn.Module:
    """The network, in torch's own initialisation."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False),
        nn.BatchNorm2d(WIDTHS[0]),
        nn.ReLU(),
    ]
    before = WIDTHS[0]
    for width in WIDTHS:
        layers += [Block(before, width, stride=width // before), Block(width, width, stride=1)]
        before = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], classes)
    )


@hookimpl
def unlearning_backbones() -> list[Backbone]:
    """AMUN's ResNet-18."""
    return [Backbone("amun_resnet18", resnet18)]
