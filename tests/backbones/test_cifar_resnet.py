"""The ResNets of CIFAR have the sizes of the paper, and shortcuts without parameters."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from harness import UserError
from harness.backbones.build import designs
from harness.backbones.cifar_resnet import BasicBlock, Padded, unlearning_backbones
from harness.plugins.catalog import load_catalog
from harness.runs.plan import build_of
from harness.scenarios import SCENARIOS

OWN = {backbone.name: backbone for backbone in unlearning_backbones()}


def network(name, classes=10, shape=(3, 32, 32)):
    (design, *_) = designs(name, OWN, shape=shape, classes=classes, stem="own")
    return design.build([0.5] * shape[0], [0.25] * shape[0])


@pytest.mark.parametrize(
    ("name", "million"),
    [("cifar_resnet20", 0.27), ("cifar_resnet32", 0.46), ("cifar_resnet56", 0.85)],
)
def test_the_parameters_are_as_many_as_the_paper_says(name, million):
    count = sum(weight.numel() for weight in network(name).parameters())

    assert round(count / 1e6, 2) == million


def test_a_projection_adds_its_two_convolutions_and_their_normalisation():
    sizes = [
        sum(weight.numel() for weight in network(f"cifar_resnet20[shortcut={kind}]").parameters())
        for kind in ("identity", "projection")
    ]

    assert sizes[1] - sizes[0] == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


@pytest.mark.parametrize(("name", "blocks"), [("cifar_resnet20", 3), ("cifar_resnet56", 9)])
def test_a_stage_has_as_many_blocks_as_the_depth_asks_and_halves_the_image_once(name, blocks):
    sizes = []
    model = network(name)
    for part in model.modules():
        if isinstance(part, BasicBlock):
            part.register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape[1:])))

    model(torch.rand(1, 3, 32, 32))

    assert sizes == [(16, 32, 32)] * blocks + [(32, 16, 16)] * blocks + [(64, 8, 8)] * blocks


def test_a_padded_shortcut_keeps_every_second_pixel_between_channels_of_zeros():
    images = torch.arange(2 * 4 * 4, dtype=torch.float32).view(1, 2, 4, 4)

    found = Padded(2)(images)

    assert found.shape == (1, 4, 2, 2)
    assert found[0, 1:3].tolist() == images[0, :, ::2, ::2].tolist()
    assert not found[0, [0, 3]].any()


def test_a_block_adds_its_input_to_two_convolutions():
    block = BasicBlock(16, 16, "identity").eval()
    images = torch.rand(2, 16, 5, 5)

    inner = F.relu(block.bn1(block.conv1(images)))
    expected = F.relu(block.bn2(block.conv2(inner)) + images)

    assert torch.equal(block(images), expected)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 33, 47)])
def test_images_of_any_size_and_number_of_channels_are_taken(shape):
    logits = network("cifar_resnet20", classes=7, shape=shape)(torch.rand(2, *shape))

    assert logits.shape == (2, 7)


def test_kernels_are_drawn_at_the_scale_of_their_outputs():
    stage = [m for m in network("cifar_resnet56").modules() if isinstance(m, nn.Conv2d)][-1]

    assert stage.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)


def test_another_shortcut_is_refused_with_the_two_that_exist():
    with pytest.raises(ValueError, match="shortcut must be identity or projection; got 'pool'"):
        network("cifar_resnet20[shortcut=pool]")


@pytest.mark.parametrize("depth", [20, 21, 56])
def test_the_depth_is_in_the_name_and_no_setting(depth):
    with pytest.raises(UserError, match=r"'cifar_resnet20': unknown setting 'depth'.*shortcut"):
        network(f"cifar_resnet20[depth={depth}]")


def test_the_harness_version_stands_for_the_source_of_its_own_backbones():
    (scenario,) = (each for each in SCENARIOS if each.name == "cifar100-class25-half")

    assert build_of(scenario, load_catalog()) == scenario.backbone
