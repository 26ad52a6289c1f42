"""Any backbone trains and unlearns on small images, or is refused in one line that says why."""

import random
from functools import partial

import numpy as np
import pytest
import timm
import torch
from torch import nn

from harness.backbones.trial import design_backbone
from harness.datasets.splits import split
from harness.errors import UserError
from harness.plugins.catalog import load_catalog
from harness.runs.method_call import call_of
from harness.runs.models import LoadedDataset, Models
from harness.runs.product import difference
from harness.seeds import seeded
from harness.specs.catalog import Backbone, Catalog
from harness.specs.data import Data
from harness.specs.forgetting import RandomFraction
from harness.specs.scenario import Recipe, Replicate, Scenario

TIMMS_OWN_SMALL = timm.list_models("test_*")


def design(name, shape, stem="own", backbones=()):
    known = {backbone.name: backbone for backbone in backbones}
    return design_backbone(name, known, shape=shape, classes=5, stem=stem)


def build(name, shape, stem="own", backbones=()):
    return design(name, shape, stem, backbones).build([0.5] * shape[0], [0.25] * shape[0])


def last_side(name, shape, stem):
    """The side of the last feature map of a network of convolutions."""
    net = build(name, shape, stem).eval().net
    with torch.no_grad():
        return net.forward_features(torch.zeros(1, *shape)).shape[-1]


def workshop(backbone, shape, stem="own", backbones=()):
    """Makes models for 32 train and 8 test images of four classes, which differ by a bar."""
    labels = torch.arange(40) % 4
    images = torch.randint(0, 100, (40, *shape), dtype=torch.uint8)
    for label in range(4):
        images[labels == label, :, 4 * label : 4 * label + 4] += 150
    train, test = (Data.of(images[part], labels[part]) for part in (slice(32), slice(32, None)))
    return Models(
        Scenario("s", "bars", backbone, Recipe(1, 0.02, 16), RandomFraction(0.25), stem=stem),
        LoadedDataset(train, test, "bars", 4, (0.4,) * shape[0], (0.3,) * shape[0]),
        Catalog(backbones={known.name: known for known in backbones}),
        torch.device("cpu"),
    )


@pytest.mark.parametrize(
    ("backbone", "shape", "stem"),
    [
        ("resnet10t[channels=(16,32,64,128)]", (3, 32, 32), "small"),
        ("resnet10t", (1, 28, 28), "own"),
        ("convnext_atto", (1, 28, 28), "own"),
        ("vit_tiny_patch16_224[img_size=32,patch_size=4,depth=3]", (3, 32, 32), "own"),
        ("test_efficientnet", (3, 32, 32), "small"),
        ("test_vit", (1, 28, 28), "own"),
    ],
)
def test_a_backbone_is_trained_and_unlearned(backbone, shape, stem):
    shop = workshop(backbone, shape, stem)
    data, method = shop.dataset, load_catalog().methods["random-labels"]
    rows = split(shop.scenario, Replicate(0, 0), data.train.labels, data.test.labels)

    probe = torch.arange(8)
    fresh = shop.network.fresh(0, "original/weights")
    trained = shop.trained(torch.arange(32), probe, 0, "original")
    original, cost = trained.weights, trained.cost
    call = call_of(shop, method, method.config, original, rows=rows, probe=probe, seed=0)
    product = call.carry_out()
    unlearned = product.weights
    train, test = shop.outputs(unlearned)

    assert (trained.changed, product.changed) == ("", "")
    assert not difference(product.probe, shop.probed(unlearned, probe))
    learnt = [name for name, _ in fresh.named_parameters()]
    fresh = fresh.state_dict()
    assert all(original[name].isfinite().all() for name in learnt)
    assert sum(not torch.equal(original[name], fresh[name]) for name in learnt) > len(learnt) / 2
    assert any(not torch.equal(original[name], unlearned[name]) for name in learnt)
    assert train.shape == (32, 4)
    assert test.isfinite().all()
    assert 2.5 * 32 < cost.passes < 3.5 * 32


@pytest.mark.parametrize("stem", ["own", "small"])
@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 28, 28), (3, 32, 32)], ids=str)
@pytest.mark.parametrize("name", TIMMS_OWN_SMALL)
def test_every_test_model_of_timm_gives_logits_and_gradients(name, shape, stem):
    model = build(name, shape, stem).to(memory_format=torch.channels_last)
    images = torch.rand(4, *shape).contiguous(memory_format=torch.channels_last)

    logits = model(images)
    logits.square().sum().backward()

    assert logits.shape == (4, 5)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "stem", "change"),
    [
        ("test_resnet", (1, 16, 16), "own", ""),
        ("resnet18", (3, 32, 32), "small", ""),
        ("convnext_atto", (3, 32, 32), "own", ""),
        ("convnext_atto", (1, 28, 28), "own", "the small stem"),
        ("convnext_atto", (1, 16, 16), "own", "the small stem"),
        ("test_vit", (1, 28, 28), "own", "patches of 4 px"),
        ("test_vit", (3, 32, 32), "small", "patches of 4 px"),
        ("test_vit[patch_size=8]", (3, 32, 32), "small", "its own stem"),
        ("test_maxvit", (1, 28, 28), "own", "images scaled to 32x32 px"),
        ("efficientformer_l1", (1, 28, 28), "own", "images scaled to 224x224 px"),
        ("test_vit[img_size=64]", (3, 32, 32), "own", "images scaled to 64x64 px"),
        ("test_vit[img_size=(32, 64)]", (3, 32, 32), "own", "images scaled to 32x64 px"),
    ],
)
def test_a_design_says_what_it_changed_for_small_images(name, shape, stem, change):
    assert design(name, shape, stem).change == change


@pytest.mark.parametrize(
    ("name", "shape", "stem", "side"),
    [
        ("resnet18", (3, 32, 32), "own", 1),
        ("resnet18", (3, 32, 32), "small", 4),
        ("resnet18", (1, 28, 28), "small", 4),
        ("convnext_atto", (3, 32, 32), "own", 1),
        ("convnext_atto", (1, 28, 28), "own", 3),
        ("convnext_atto", (1, 16, 16), "own", 2),
        ("mobilenetv3_small_050", (3, 32, 32), "small", 2),
    ],
)
def test_a_small_stem_keeps_the_size_of_the_image(name, shape, stem, side):
    assert last_side(name, shape, stem) == side


def test_the_weights_are_those_of_timm_for_the_same_seed():
    found = design("test_resnet", (1, 16, 16))

    with seeded(3, "test"):
        model = found.build([0.5], [0.25])
        after = torch.get_rng_state()
    with seeded(3, "test"):
        expected = timm.create_model("test_resnet", in_chans=1, num_classes=5)
        assert torch.equal(after, torch.get_rng_state())

    weights = model.net.state_dict()
    assert weights.keys() == expected.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in expected.state_dict().items())


@pytest.mark.parametrize("name", ["test_resnet", "convnext_atto", "test_vit", "test_maxvit"])
def test_two_seeds_give_two_networks_and_one_seed_one(name):
    found = design(name, (1, 28, 28))

    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in found.build([0.5], [0.25]).parameters()])

    with seeded(0, "test"):
        assert torch.equal(weights(1), weights(1))
        assert not torch.equal(weights(1), weights(2))


def test_a_trial_draws_no_random_number():
    random_state, numpy_state = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    torch_state = torch.get_rng_state()

    design("convnext_atto", (1, 28, 28))

    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == random_state
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_a_trial_leaves_no_trace_in_a_network():
    buffers = dict(build("test_resnet", (1, 16, 16)).net.named_buffers())

    assert any(name.endswith("running_mean") for name in buffers)
    for name, buffer in buffers.items():
        expected = torch.ones_like(buffer) if name.endswith("_var") else torch.zeros_like(buffer)
        assert torch.equal(buffer, expected), name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet81", "unknown backbone 'resnet81'; did you mean 'resnet18'"),
        ("resnet18.no_such_weights", "unknown backbone 'resnet18.no_such_weights'; did you mean"),
        ("vit_tiny_patch16_224_in21k", "did you mean 'vit_tiny_patch16_224'"),
        ("tiny-nett", "did you mean 'tiny-net'"),
        ("hf_hub:timm/resnet18.a1_in1k", "unknown backbone 'hf_hub:timm/resnet18.a1_in1k'"),
        ("test_resnet[depth=9]", "unexpected keyword argument 'depth'"),
        ("test_vit[patch_size=5]", "patch size (5)"),
        ("lambda_resnet26t", "cannot work on 1x28x28 images: RuntimeError"),
    ],
)
@pytest.mark.parametrize("stem", ["own", "small"])
def test_a_backbone_that_cannot_be_built_is_one_line_with_the_reason(name, message, stem):
    with pytest.raises(UserError) as error:
        design(name, (1, 28, 28), stem, [Backbone("tiny-net", nn.Identity)])

    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def build_wide(*, channels, classes, size, stem, width=8):
    """A plugin's network, for one class too many."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, classes + 1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wide[widht=3]", "backbone 'wide': unknown setting 'widht'; did you mean 'width'?"),
        ("wide[size=3]", "backbone 'wide': unknown setting 'size'; known: width"),
        (
            "wide[width=3]",
            (
                "backbone 'wide[width=3]' cannot work on 1x8x8 images: it returns (2, 6) for two "
                "images, not (2, 5)"
            ),
        ),
    ],
)
def test_a_plugins_network_is_faulted_without_advice_on_timms(name, message):
    with pytest.raises(UserError) as error:
        design(name, (1, 8, 8), backbones=[Backbone("wide", build_wide)])

    assert str(error.value) == message


def test_a_tag_of_pretrained_weights_builds_the_same_untrained_network():
    with seeded(0, "test"):
        plain = build("resnet10t", (1, 28, 28)).state_dict()
    with seeded(0, "test"):
        tagged = build("resnet10t.c3_in1k", (1, 28, 28)).state_dict()

    assert all(torch.equal(plain[name], tagged[name]) for name in plain)


def linear(*, channels, classes, size, stem, width=4, fails=""):
    if fails == stem:
        raise ValueError(f"no {stem} stem")
    features = channels * size[0] * size[1]
    return nn.Sequential(nn.Flatten(), nn.Linear(features, width), nn.Linear(width, classes))


def speechless(**_):
    raise RuntimeError


def test_a_plugins_backbone_takes_settings():
    shop = workshop("lin[width=9]", (3, 8, 8), backbones=[Backbone("lin", linear)])

    weights = shop.trained(torch.arange(32), torch.arange(8), 0, "original").weights

    assert weights["net.1.weight"].shape == (9, 192)
    assert weights["net.2.weight"].shape == (4, 9)


def test_a_plugins_backbone_whose_own_stem_cannot_run_is_asked_for_its_small_one():
    plugin = Backbone("lin", linear)

    assert design("lin[fails=own]", (1, 8, 8), "own", [plugin]).change == "the small stem"
    with pytest.raises(UserError, match="ValueError: no small stem"):
        design("lin[fails=small]", (1, 8, 8), "small", [plugin])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda **_: "a net", "returned str, not an nn.Module"),
        (lambda **_: nn.Flatten(), "returns (2, 64) for two images, not (2, 5)"),
        (partial(linear, fail=1), "unexpected keyword argument 'fail'"),
        (speechless, "RuntimeError: raise RuntimeError"),
    ],
)
def test_a_plugins_build_that_is_wrong_is_refused_with_the_reason(wrong, reason):
    with pytest.raises(UserError) as error:
        design("wrong", (1, 8, 8), backbones=[Backbone("wrong", wrong)])

    assert reason in str(error.value)


def test_the_command_line_runs_any_backbone_and_tells_what_it_changed(unlearn):
    status, out, err = unlearn(
        *("run", "finetune", "--scenario", "tiny", "--backbone", "test_convnext"),
        *("--replicates", "1"),
    )

    assert status == 0, err
    assert "changed: test_convnext in tiny+test_convnext: the small stem" in out
