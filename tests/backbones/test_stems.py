"""The small-image stem keeps an image's size and the scale of what the network computes."""

import pytest
import timm
import torch
from torch import nn

from harness.backbones.stems import UnfitError, patch_sizes, shrink_stem
from harness.seeds import seeded


def test_the_small_stem_of_a_resnet_is_a_3x3_convolution_without_max_pool():
    net = shrink_stem(timm.create_model("resnet18"))

    assert net.conv1.weight.shape == (64, 3, 3, 3)
    assert net.conv1.stride == (1, 1)
    assert net.conv1.padding == (1, 1)
    assert isinstance(net.maxpool, nn.Identity)


@pytest.mark.parametrize(
    ("name", "first"),
    [("resnet18", "conv1"), ("convnext_atto", "stem.0"), ("nf_regnet_b0", "stem.conv")],
)
def test_a_small_stem_keeps_the_scale_of_what_it_computes(name, first):
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with seeded(0, "test"):
        own, small = timm.create_model(name), shrink_stem(timm.create_model(name))

    with torch.no_grad():
        before, after = (net.get_submodule(first)(images) for net in (own, small))

    assert after.shape[-2:] == (32, 32)
    assert float(after.std()) == pytest.approx(float(before.std()), rel=0.15)


def test_a_stem_that_is_small_already_stays():
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))

    assert str(shrink_stem(net)) == str(net)
    assert isinstance(net[2], nn.MaxPool2d)


@pytest.mark.parametrize(
    ("net", "reason"),
    [(nn.Linear(2, 2), "no convolution"), (nn.Conv2d(1, 4, 8, 8), "patches of 8 px")],
)
def test_a_network_without_a_stem_is_refused_with_the_reason(net, reason):
    with pytest.raises(UnfitError, match=reason):
        shrink_stem(net)


@pytest.mark.parametrize(
    ("size", "sides"),
    [((32, 32), [4, 2, 1]), ((28, 28), [4, 2, 1]), ((16, 16), [2, 1]), ((30, 20), [2, 1])],
)
def test_patches_tile_the_image(size, sides):
    assert patch_sizes(*size) == sides
