"""BatchNorms are folded into convolutions only where that changes no logit."""

import pytest
import torch
from attacked import network, samples
from torch import nn

from amun_plugin import Closest, Engine, attack
from amun_plugin.adversarial.preparation import prepare
from amun_plugin.adversarial.twin import Caller, undisturbed


def prepared(model, x, **settings):
    caller = Caller(model, x, 256)
    with undisturbed(model):
        return prepare(caller, x[:1], caller.logits(x)[:1], Engine(**settings))


def test_a_folded_copy_gives_the_models_logits_without_its_norms():
    model = network()
    x, _ = samples(model, 20)

    twin = prepared(model, x).twin

    assert len(twin.model.joints) == 2
    assert (twin.logits(x) - model(x)).abs().max() <= 1e-4 * model(x).abs().max()


class Fork(nn.Module):
    """A network in which a convolution's output goes to its norm, and elsewhere too."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.norm.running_var.fill_(3.0)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        z = self.conv(x)
        if self.way == "beside":
            z = self.norm(z) + z
        elif self.way == "in place":
            z = self.norm(z.relu_())
        elif self.way == "twice":
            z = self.norm(self.norm(z))
        elif self.way == "by rows" and len(x) > 1:
            z = torch.cat([self.norm(self.conv(row[None])) for row in x])
        elif self.way == "not always" and len(x) > 1:
            z = (z - self.norm.running_mean[:, None, None]) / (3.0 + 1e-5) ** 0.5
        else:
            z = self.norm(z)
        return self.head(z.mean((2, 3)))


def fork(way):
    torch.manual_seed(0)
    return Fork(way).eval()


def joints_of(twin):
    return getattr(twin.model, "joints", [])


@pytest.mark.parametrize("way", ["beside", "in place", "twice"])
def test_a_norm_is_not_folded_where_it_is_not_all_that_uses_its_convolution(way):
    model = fork(way)
    x, y = samples(model, 6)

    found = attack(model, x, y, Closest())

    assert not joints_of(prepared(model, x).twin)
    assert found.x.equal(attack(model, x, y, Closest(), engine=Engine(fold=False)).x)


@pytest.mark.parametrize("way", ["by rows", "not always"])
def test_a_model_that_goes_another_way_in_a_batch_than_in_its_trial_is_unfolded(way):
    model = fork(way)
    x, _ = samples(model, 6)
    twin = prepared(model, x).twin
    assert len(joints_of(twin)) == 1

    logits = twin.logits(x)

    assert not joints_of(twin)
    assert torch.allclose(logits, model(x), atol=1e-5)


def test_a_norm_with_its_own_activation_is_folded():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.layers.ConvNormAct(1, 4, 3)
    model.bn.running_mean.normal_()
    model = nn.Sequential(model, nn.Flatten(), nn.Linear(256, 3)).eval()
    x, _ = samples(model, 4)

    twin = prepared(model, x).twin

    assert len(twin.model.joints) == 1
    assert torch.allclose(twin.logits(x), model(x), atol=1e-5)
