"""The candidates for a backbone stand in the order of how little they change."""

import pytest
import torch
from torch import nn

from harness.backbones.build import Normalised, designs
from harness.specs.catalog import Backbone

LARGE = "images scaled to {0}x{0} px"
SMALL_STEM = "the small stem"


def changes(name, shape, stem, backbones=()):
    known = {backbone.name: backbone for backbone in backbones}
    return [each.change for each in designs(name, known, shape=shape, classes=5, stem=stem)]


def test_the_own_stem_comes_before_a_small_one_and_a_small_one_before_larger_images():
    found = changes("convnext_atto", (3, 30, 30), "own")

    assert [change for change in found if not change.startswith("patches")] == [
        "",
        SMALL_STEM,
        LARGE.format(32),
        f"{SMALL_STEM}, {LARGE.format(32)}",
        LARGE.format(64),
        f"{SMALL_STEM}, {LARGE.format(64)}",
        LARGE.format(128),
        LARGE.format(224),  # the size that the network was made for
    ]


def test_where_a_small_stem_is_asked_for_the_own_one_comes_last_and_on_the_largest_images_first():
    found = changes("convnext_atto", (3, 32, 32), "small")

    assert [change for change in found if not change.startswith("patches")] == [
        "",
        LARGE.format(64),
        f"its own stem, {LARGE.format(128)}",
        f"its own stem, {LARGE.format(64)}",
        "its own stem",
        f"its own stem, {LARGE.format(224)}",
    ]


def test_a_network_that_cuts_patches_has_smaller_patches_instead_of_a_small_stem():
    found = changes("test_vit", (3, 32, 32), "own")

    assert found[:4] == ["", "patches of 4 px", "patches of 2 px", "patches of 1 px"]
    assert SMALL_STEM not in "".join(found)


def test_a_patch_size_that_the_user_sets_stands_and_only_the_images_grow():
    found = changes("test_vit[patch_size=8]", (3, 32, 32), "own")

    assert found == ["", LARGE.format(64), LARGE.format(128)]


def test_an_image_size_that_the_user_sets_is_the_only_candidate():
    assert changes("test_vit[img_size=64]", (3, 32, 32), "own") == [LARGE.format(64)]


@pytest.mark.parametrize(("stem", "expected"), [("own", ["", SMALL_STEM]), ("small", [""])])
def test_a_plugins_network_is_tried_as_asked_for_and_then_with_the_small_stem(stem, expected):
    assert changes("mine", (1, 8, 8), stem, [Backbone("mine", nn.Identity)]) == expected


def test_images_are_normalised_and_then_scaled():
    model = Normalised(nn.Identity(), [0.5, 0.0], [0.25, 1.0], (8, 4))

    seen = model(torch.full((1, 2, 4, 2), 0.75))

    assert seen.shape == (1, 2, 8, 4)
    assert torch.equal(seen[0, :, 0, 0], torch.tensor([1.0, 0.75]))
