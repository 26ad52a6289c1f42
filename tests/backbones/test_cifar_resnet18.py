"""The ResNet-18 for small images: its size, its shapes, and the sums of its projection blocks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from harness import UserError
from harness.backbones.cifar_resnet18 import Block, resnet18, unlearning_backbones
from harness.backbones.trial import design_backbone

SHAPE = (3, 32, 32)


def network(classes=10):
    torch.manual_seed(0)
    return resnet18(channels=3, classes=classes, size=SHAPE[1:], stem="own")


def blocks(net):
    return [layer for layer in net.modules() if isinstance(layer, Block)]


def count(module):
    return sum(weight.numel() for weight in module.parameters())


def test_it_has_the_11_17_million_parameters_of_the_papers_network():
    stem = 3 * 64 * 9 + 2 * 64
    first = sum(
        9 * c * w + 9 * w * w + 4 * w + (c != w) * (c * w + 2 * w)
        for c, w in [(64, 64), (64, 128), (128, 256), (256, 512)]
    )
    second = sum(2 * 9 * w * w + 4 * w for w in (64, 128, 256, 512))

    assert count(network()) == stem + first + second + 512 * 10 + 10 == 11_173_962
    assert count(network(classes=100)) == 11_173_962 + 90 * 513


def test_each_stage_but_the_first_begins_with_a_projection_that_halves_the_image():
    net = network().eval()
    seen = []
    for block in blocks(net):
        block.register_forward_hook(lambda *given: seen.append(tuple(given[-1].shape[1:])))

    net(torch.rand(1, *SHAPE))

    assert seen == [(64, 32, 32)] * 2 + [(128, 16, 16)] * 2 + [(256, 8, 8)] * 2 + [(512, 4, 4)] * 2
    assert [block.projection is not None for block in blocks(net)] == [False, False] + [
        True,
        False,
    ] * 3


def norm(layer, x):
    """BatchNorm in eval mode, by its formula."""
    scale = layer.weight / (layer.running_var + layer.eps).sqrt()
    return (x - layer.running_mean[:, None, None]) * scale[:, None, None] + layer.bias[
        :, None, None
    ]


@pytest.mark.parametrize("halved", [True, False])
@pytest.mark.parametrize(("channels", "stride", "share"), [(4, 1, 1.0), (4, 2, 0.5), (3, 1, 0.5)])
def test_a_block_is_relu_of_the_sum_which_is_halved_where_the_shortcut_is_a_projection(
    channels, stride, share, halved
):
    torch.manual_seed(0)
    block = Block(channels, 4, stride, halved=halved).eval()
    for layer in block.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                nn.init.uniform_(values, 0.5, 1.5)
    x = torch.randn(2, channels, 6, 6)

    branch = F.conv2d(x, block.conv1.weight, stride=stride, padding=1)
    branch = F.conv2d(norm(block.bn1, branch).clamp(min=0), block.conv2.weight, padding=1)
    branch, shortcut = norm(block.bn2, branch), x
    if share < 1:
        convolution, after = block.projection
        shortcut = norm(after, F.conv2d(x, convolution.weight, stride=stride))
    expected = ((share if halved else 1.0) * (branch + shortcut)).clamp(min=0)

    torch.testing.assert_close(block(x), expected)
    assert (expected == 0).any()


def test_the_harness_builds_it_as_it_is_for_cifars_images():
    (backbone,) = unlearning_backbones()
    backbones = {backbone.name: backbone}

    design = design_backbone(
        "cifar_resnet18[halved=True]", backbones, shape=SHAPE, classes=10, stem="own"
    )

    assert (design.change, design.input_size) == ("", None)
    assert count(design.build([0.5] * 3, [0.25] * 3)) == 11_173_962


def test_it_takes_no_other_settings():
    (backbone,) = unlearning_backbones()

    with pytest.raises(UserError, match="width"):
        design_backbone(
            "cifar_resnet18[width=8]",
            {backbone.name: backbone},
            shape=SHAPE,
            classes=10,
            stem="own",
        )


@pytest.mark.parametrize("value", ["3", "0", "'no'"])
def test_halved_is_true_or_false(value):
    (backbone,) = unlearning_backbones()
    name = f"cifar_resnet18[halved={value}]"

    with pytest.raises(UserError, match="halved must be True or False; got "):
        design_backbone(name, {backbone.name: backbone}, shape=SHAPE, classes=10, stem="own")
