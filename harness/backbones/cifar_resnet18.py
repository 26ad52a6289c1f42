"""The ResNet-18 of many unlearning repositories, for images of about 32 pixels.

It differs from torchvision's in its first layer, a 3×3 convolution with stride 1 and without a
pool. He et al. 2016, https://arxiv.org/abs/1512.03385
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from harness.plugins.hookspecs import hookimpl
from harness.specs.catalog import Backbone

WIDTHS = (64, 128, 256, 512)
"""Channels of the four stages, of two blocks each."""


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a projection where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int, *, halved: bool) -> None:
        super().__init__()
        self.halved = halved
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
        total = branch + self.projection(images)
        return F.relu(total / 2 if self.halved else total)


def resnet18(
    *,
    channels: int,
    classes: int,
    size: tuple[int, int],  # noqa: ARG001 - it takes images of any size
    stem: str,  # noqa: ARG001 - its own is the small one
    halved: bool = False,
) -> nn.Module:
    """The network, in torch's own initialisation.

    ``halved`` halves the sum of both branches, before the ReLU, in the three blocks whose shortcut
    is a projection, as in the network of https://github.com/Ali-E/AMUN. Raises TypeError if it is
    neither True nor False.
    """
    if not isinstance(halved, bool):
        raise TypeError(f"halved must be True or False; got {halved!r}")
    layers: list[nn.Module] = [
        nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False),
        nn.BatchNorm2d(WIDTHS[0]),
        nn.ReLU(),
    ]
    before = WIDTHS[0]
    for width in WIDTHS:
        layers += [
            Block(before, width, width // before, halved=halved),
            Block(width, width, 1, halved=halved),
        ]
        before = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], classes)
    )


@hookimpl
def unlearning_backbones() -> list[Backbone]:
    """The network, ``cifar_resnet18``."""
    return [Backbone("cifar_resnet18", resnet18)]
