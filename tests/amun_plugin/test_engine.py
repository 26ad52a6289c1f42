"""How a search is run: it costs what it says, and neither batch nor copy changes its result."""

from collections import Counter

import pytest
import torch
from torch import nn

from amun_plugin import Closest, Engine, Pgd, Status, attack
from amun_plugin.adversarial.caller import Caller, undisturbed
from amun_plugin.adversarial.preparation import prepare

WARM = Pgd(eps_init=0.01)
BRACKET = Pgd(eps_init=0.01, restart="origin")
METHODS = [WARM, BRACKET, Pgd(eps_init=0.05, steps=10, stop="last"), Closest()]


def network(*, seed=0):
    """A convolutional network in eval mode whose BatchNorms do something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
            *(nn.Conv2d(8, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(72, 4)),
        )
        for norm in (model[1], model[4]):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            nn.init.normal_(norm.weight, 1, 0.3)
        model.eval()
        with torch.no_grad():  # so that all classes occur
            model[-1].bias -= model(torch.rand(100, 1, 8, 8)).mean(0)
    return model


def samples(model, n):
    """Images and the labels that the model gives them, so that all are to be attacked."""
    x = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return x, model(x).argmax(1)


def counted(model):
    """Counts what hooks see of every forward and backward, the private copy's included."""
    counts = Counter()

    def see(_module, _inputs, output):
        counts["forwards"] += len(output)
        if output.requires_grad:
            output.register_hook(lambda gradient: counts.update(gradients=len(gradient)))

    model.register_forward_hook(see)
    return counts


@pytest.fixture(params=METHODS, ids=str)
def method(request):
    return request.param


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("batch", ["auto", 7])
def test_what_it_says_it_spent_is_what_hooks_count(method, batch, fold):
    model = network()
    x, y = samples(model, 25)
    y[::5] = (y[::5] + 1) % 4
    counts = counted(model)

    found = attack(model, x, y, method, engine=Engine(batch=batch, fold=fold))

    assert counts["gradients"] == found.gradients.sum()
    assert counts["forwards"] == found.forwards.sum()
    assert (found.forwards[::5] == 1).all()
    assert (found.gradients[::5] == 0).all()


def test_a_verdict_of_the_model_against_the_search_costs_forwards_that_count():
    model = network()
    x, y = samples(model, 60)
    counts = counted(model)

    found = attack(model, x, y, Closest(overshoot=0.0), engine=Engine(precision="bf16"))

    assert found.ok.all()
    assert counts["gradients"] == found.gradients.sum()
    assert (found.gradients > 10).any()  # in bfloat16 the nearest are wrong already
    assert counts["forwards"] == found.forwards.sum()


def test_closest_takes_as_many_gradients_as_it_is_told():
    model = network()
    x, y = samples(model, 9)

    found = attack(model, x, y, Closest(7, refine=3))

    assert (found.gradients == 7).all()
    assert (found.forwards[1:] == 1 + 7 + 3 + 1).all()


def test_splitting_permuting_and_repeating_samples_changes_no_radius_or_label(method):
    model = network()
    x, y = samples(model, 8)
    whole = attack(model, x, y, method)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))

    for batch in (1, 5):
        found = attack(model, x[order], y[order], method, engine=Engine(batch=batch))

        assert found.radius.equal(whole.radius[order]) or isinstance(method, Closest)
        assert found.label.equal(whole.label[order])
        assert torch.allclose(found.x, whole.x[order], atol=1e-3)
    twice = attack(model, x[:3].repeat(2, 1, 1, 1), y[:3].repeat(2), method)
    assert torch.allclose(twice.x[:3], twice.x[3:], atol=1e-3)


def test_every_row_found_is_wrong_alone_and_among_all(method):
    model = network()
    x, y = samples(model, 40)

    found = attack(model, x, y, method)

    alone = torch.cat([model(row[None]).argmax(1) for row in found.x])
    assert (found.status == Status.FOUND).all()
    assert model(found.x).argmax(1).equal(found.label)
    assert alone.equal(found.label)
    assert (found.label != y).all()
    assert found.x.min() >= 0
    assert found.x.max() <= 1
    assert torch.allclose(found.distance, (found.x - x).flatten(1).norm(dim=1), atol=1e-5)
    assert (found.distance <= found.radius + 1e-5).all() or isinstance(method, Closest)


def test_the_same_call_gives_the_same_bits(method):
    model = network()
    x, y = samples(model, 10)

    one, two = attack(model, x, y, method), attack(model, x, y, method)

    assert one.x.equal(two.x)
    assert one.label.equal(two.label)


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
    """A network in which one convolution's output goes to its norm, and on other ways."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
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


@pytest.mark.parametrize("way", ["beside", "in place", "twice", "by rows", "not always"])
def test_a_norm_is_folded_only_where_nothing_else_hears_its_convolution(way):
    torch.manual_seed(0)
    model = Fork(way).eval()
    x, y = samples(model, 6)

    twin = prepared(model, x).twin
    found = attack(model, x, y, Closest())

    assert torch.allclose(twin.logits(x), model(x), atol=1e-5)
    assert found.x.equal(attack(model, x, y, Closest(), engine=Engine(fold=False)).x) or (
        way in ("by rows", "not always")
    )


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


class Uncopyable(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def __deepcopy__(self, memo):
        raise RuntimeError("there is but one of me")

    def forward(self, x):
        return self.model(x)


class Winding(nn.Module):
    """One that torch.fx cannot trace: its way depends on numbers."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        if x.sum() > 1e9:
            return self.model(-x)
        return self.model(x)


@pytest.mark.parametrize("wrap", [Uncopyable, Winding])
def test_a_model_that_cannot_be_copied_or_traced_is_attacked_all_the_same(wrap, method):
    model = network()
    x, y = samples(model, 8)
    expected = attack(model, x, y, method)

    found = attack(wrap(model), x, y, method)

    assert found.ok.all()
    assert found.label.equal(expected.label)
    assert torch.allclose(found.x, expected.x, atol=1e-3)


def test_a_batch_is_as_large_as_the_memory_bears(monkeypatch):
    model = network()
    x, _ = samples(model, 2)
    monkeypatch.setattr("amun_plugin.adversarial.preparation.CPU_MEMORY", 300_000)

    small = prepared(model, x).batch
    monkeypatch.undo()

    assert 1 <= small < prepared(model, x).batch == 256
    assert prepared(model, x, batch=5).batch == 5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("model_on", ["cpu", "cuda"])
def test_a_gpu_finds_what_a_cpu_finds(method, model_on):
    model = network()
    x, y = samples(model, 300)
    expected = attack(model, x, y, method)

    engine = Engine(batch=64, device="cuda")
    found = attack(model.to(model_on), x.to(model_on), y.to(model_on), method, engine=engine)

    assert found.ok.all()
    assert found.x.device.type == model_on
    assert (found.label.cpu() == expected.label).float().mean() >= 0.95
    assert (found.distance.cpu() / expected.distance).median().item() == pytest.approx(1, abs=0.01)
