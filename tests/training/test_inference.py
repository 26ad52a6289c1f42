"""The inference loop: the model's own forward on every row, and nothing changed by it."""

import copy

import pytest
import torch
from torch import nn

from harness import Data, predict


def images(n=50, *, exact=False, augment=True):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 3, 6, 6), generator=generator, dtype=torch.uint8)
    return Data.of(pixels / 255 if exact else pixels, torch.arange(n) % 3, augment=augment)


def network():
    """Small, with all that depends on the mode."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5))
    return nn.Sequential(*layers, nn.Linear(128, 3))


@pytest.mark.parametrize("batch", [1, 7, 512])
def test_inference_is_the_models_forward_in_eval_mode_on_every_row_in_order(batch):
    model, data = network().train(), images()
    model(data.images.float() / 255)  # gives the normalisation statistics of its own
    model.eval()
    with torch.no_grad():
        expected = model(data.images.float() / 255)

    found = predict(model.train(), data, batch=batch)

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert not found.requires_grad


def test_inference_leaves_every_modules_mode_and_statistics():
    model = network().train()
    model[1].eval()
    modes, before = [module.training for module in model.modules()], copy.deepcopy(model)

    predict(model, images())

    assert [module.training for module in model.modules()] == modes
    for name, value in before.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_inference_that_fails_leaves_every_modules_mode_too():
    model = network().train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    grey = Data.of(torch.zeros(2, 1, 6, 6), torch.zeros(2, dtype=torch.int64))

    with pytest.raises(RuntimeError, match="channels"):
        predict(model, grey)

    assert [module.training for module in model.modules()] == modes


def test_inference_takes_bytes_and_floats_alike_and_does_not_augment():
    model = network().eval()

    found = [predict(model, images(exact=exact)) for exact in (False, True)]

    assert torch.equal(*found)
    assert found[0].dtype == torch.float32
    assert torch.equal(found[0], predict(model, images(augment=False)))


def test_inference_on_nothing_gives_nothing():
    assert len(predict(network(), images().select(torch.arange(0)))) == 0
