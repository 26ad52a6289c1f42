"""An attack leaves the caller's model as it was, and attacks it whether or not it can be copied."""

import copy

import pytest
import torch
from attacked import network, samples
from torch import nn
from torch.nn import functional as F

from amun_plugin import Closest, Engine, attack


class Network(nn.Module):
    """Convolution, BatchNorm and dropout; it fails after so many calls, if told to."""

    def __init__(self, classes=3):
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout()
        self.head = nn.Linear(6 * 4 * 4, classes)
        self.calls_left = [10**9]
        self.error = None

    def forward(self, x):
        self.calls_left[0] -= 1
        if self.calls_left[0] < 0:
            raise self.error
        return self.head(self.drop(F.relu(self.norm(self.conv(x)))).flatten(1))

    def __deepcopy__(self, memo):
        twin = Network(self.head.out_features)
        twin.load_state_dict(self.state_dict())
        twin.calls_left = self.calls_left
        twin.error = self.error
        return twin


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = Network()
    model.train()
    for _ in range(3):
        model(torch.rand(32, 2, 6, 6))
    model.norm.eval()  # modes are mixed, as in fine-tuning with frozen norms
    model.zero_grad()
    with torch.no_grad():
        model.head.bias -= copy.deepcopy(model).eval()(torch.rand(200, 2, 6, 6)).mean(0)
    return model


def images(n=6):
    return torch.rand(n, 2, 6, 6, generator=torch.Generator().manual_seed(1))


def labels_of(model, x):
    modes = {module: module.training for module in model.modules()}
    with torch.no_grad():
        labels = model.eval()(x.float()).argmax(1)
    for module, mode in modes.items():
        module.training = mode
    return labels


def state_of(model):
    """All that an attack could change in the model and around it."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return (
        [module.training for module in model.modules()],
        {name: (id(t), t.tolist(), t.requires_grad, t.stride()) for name, t in tensors.items()},
        [p.grad is None for p in model.parameters()],
        [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
    )


def test_the_model_and_the_images_are_as_they_were(model, method):
    x = images().requires_grad_()
    y = labels_of(model, x)
    before = state_of(model)
    pixels = x.tolist()

    found = attack(model, x, y, method)

    assert found.ok.all()
    assert state_of(model) == before
    assert x.tolist() == pixels
    assert x.requires_grad
    assert x.grad is None
    assert not any(getattr(found, name).requires_grad for name in ("x", "distance", "radius"))


@pytest.mark.parametrize("calls", [0, 1, 2, 8])
@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()], ids=repr)
def test_the_model_is_as_it_was_also_after_an_error(model, error, calls):
    x = images()
    y = labels_of(model, x)
    before = state_of(model)
    model.calls_left[0] = calls
    model.error = error

    with pytest.raises(type(error)):
        attack(model, x, y)

    assert state_of(model) == before


class Busy(nn.Module):
    """Draws random numbers and changes its buffers and modes whenever it is called."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.register_buffer("calls", torch.zeros(1))

    def __deepcopy__(self, memo):
        raise TypeError("no copies")

    def forward(self, x):
        self.calls += 1
        torch.rand(1)
        self.model.drop.eval()
        return self.model(x)


def test_a_model_that_changes_itself_when_called_is_as_it_was(model):
    busy = Busy(model)
    x = images()
    y = labels_of(model, x)
    before = state_of(busy)

    assert attack(busy, x, y, Closest()).ok.all()

    assert state_of(busy) == before


@pytest.mark.parametrize("surroundings", ["no_grad", "inference_mode", "autocast", "frozen"])
def test_the_surroundings_change_nothing(model, method, surroundings):
    x = images()
    y = labels_of(model, x)
    expected = attack(model, x, y, method)
    if surroundings == "frozen":
        model.requires_grad_(requires_grad=False)
    around = {
        "no_grad": torch.no_grad(),
        "inference_mode": torch.inference_mode(),
        "autocast": torch.autocast("cpu", torch.bfloat16),
        "frozen": torch.enable_grad(),
    }[surroundings]

    with around:
        found = attack(model, x.clone(), y.clone(), method)

    assert found.x.equal(expected.x)
    assert found.label.equal(expected.label)


def test_a_model_in_train_mode_is_attacked_as_in_eval_mode(model):
    x = images()
    y = labels_of(model, x)

    training = attack(model.train(), x, y)
    evaluating = attack(model.eval(), x, y)

    assert training.x.equal(evaluating.x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_model_of_another_type_judges_in_its_own(model, method, dtype):
    model = model.eval().to(dtype)
    x = images(12)
    y = model(x.to(dtype)).argmax(1)

    found = attack(model, x, y, method)

    assert found.ok.all()
    assert model(found.x.to(dtype)).argmax(1).equal(found.label)
    assert (found.label != y).all()


class SelfCasting(nn.Module):
    """A model in bfloat16 that casts the images itself, so that its copy in float32 fails."""

    def __init__(self, model):
        super().__init__()
        self.model = model.to(torch.bfloat16)

    def forward(self, x):
        return self.model(x.to(torch.bfloat16))


def test_a_model_whose_copy_fails_is_attacked_itself(model):
    casting = SelfCasting(model.eval())
    x = images(12)
    y = casting(x).argmax(1)

    found = attack(casting, x, y, Closest())

    assert found.ok.all()
    assert casting(found.x).argmax(1).equal(found.label)


class InPlace(nn.Module):
    """Normalises its input in place."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x.sub_(0.1))


def test_a_model_may_work_on_its_input_in_place(model):
    x = images()
    pixels = x.tolist()
    y = labels_of(model, x - 0.1)

    found = attack(InPlace(model), x, y, Closest())

    assert found.ok.all()
    assert x.tolist() == pixels


def test_hooks_that_steer_the_model_steer_the_attack(model):
    x = images()
    model.head.register_forward_hook(lambda _m, _i, logits: logits.flip(1))
    y = labels_of(model, x)

    found = attack(model, x, y, Closest())

    assert found.ok.all()
    assert labels_of(model, found.x).equal(found.label)


def test_gradients_that_the_model_holds_are_kept(model):
    x = images()
    model.eval()(x).sum().backward()
    held = [p.grad.clone() for p in model.parameters()]

    attack(model, x, labels_of(model, x), engine=Engine(batch=4))

    assert all(p.grad.equal(grad) for p, grad in zip(model.parameters(), held, strict=True))


class Uncopyable(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def __deepcopy__(self, memo):
        raise RuntimeError("there is but one of me")

    def forward(self, x):
        return self.model(x)


class Winding(nn.Module):
    """A model that torch.fx cannot trace: which way it goes depends on numbers."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        if x.sum() > 1e9:
            return self.model(-x)
        return self.model(x)


@pytest.mark.parametrize("wrap", [Uncopyable, Winding])
def test_a_model_that_cannot_be_copied_or_traced_has_the_same_examples(wrap, method):
    model = network()
    x, y = samples(model, 8)
    expected = attack(model, x, y, method)

    found = attack(wrap(model), x, y, method)

    assert found.ok.all()
    assert found.label.equal(expected.label)
    assert torch.allclose(found.x, expected.x, atol=1e-3)
