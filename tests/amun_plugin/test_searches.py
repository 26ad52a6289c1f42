"""What the searches find: against a plain reference, closed forms, each other and every scale."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from amun_plugin import Closest, Engine, Pgd, Status, attack

WARM = Pgd()
ASCENDING = Pgd(restart="origin", search="ascending")
BRACKET = Pgd(restart="origin")


@pytest.fixture(scope="module")
def digits():
    """A small network at 100 % on 400 digits, with those images and labels."""
    bunch = load_digits()
    x = torch.as_tensor(bunch.images[:400], dtype=torch.float32)[:, None] / 16
    y = torch.as_tensor(bunch.target[:400])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, stride=2, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(288, 10)),
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for step in range(150):
            rows = torch.arange(step * 64, step * 64 + 64) % 400
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    model.eval()
    assert (model(x).argmax(1) == y).all()
    return model, x, y


class HalfSpace(nn.Module):
    """Two classes, parted by the plane w·x = b; class 0 is where w·x < b."""

    def __init__(self, w, b):
        super().__init__()
        self.w, self.b = w, b

    def forward(self, x):
        over = x.flatten(1) @ self.w - self.b
        return torch.stack((-over, over), 1) / 2


class Ball(nn.Module):
    """Class 0 inside a ball around the middle of the box, class 1 outside."""

    radius = 0.4

    def forward(self, x):
        over = (x - 0.5).flatten(1).square().sum(1) - self.radius**2
        return torch.stack((-over, over), 1)


class Scaled(nn.Module):
    def __init__(self, model, scale):
        super().__init__()
        self.model, self.scale = model, scale

    def forward(self, x):
        return self.model(x) * self.scale


def reference(model, image, label, method):
    """The published search of one image (1, c, h, w), plainly: its example and radius."""
    x, radius = image.clone(), method.eps_init
    reach = torch.maximum(image, 1 - image).norm()
    while True:
        x = image.clone() if method.restart == "origin" else x
        for k in range(method.steps + 1):
            x = x.detach().requires_grad_()
            logits = model(x)
            wrong = logits.argmax() != label
            if k > 0 and wrong and (method.stop == "first" or k == method.steps):
                return x.detach(), radius
            if k == method.steps:
                break
            others = torch.cat((logits[0, :label], logits[0, label + 1 :]))
            (g,) = torch.autograd.grad(others.logsumexp(0) - logits[0, label], x)
            away = x + method.step * radius * g / g.norm() - image
            away = away * min(1.0, radius / away.norm())
            x = (image + away).clamp(0, 1)
        if radius >= reach:
            return image, math.nan
        radius *= method.growth


@pytest.mark.parametrize(
    "method",
    [
        WARM,
        ASCENDING,
        BRACKET,
        Pgd(stop="last"),
        Pgd(restart="origin", stop="last"),
        Pgd(eps_init=0.1, steps=10, step=0.3, growth=1.5),
    ],
    ids=str,
)
def test_each_search_ends_where_a_plain_one_of_single_images_ends(digits, method):
    model, x, y = digits
    plain = [reference(model, x[i : i + 1], y[i], method) for i in range(8)]

    found = attack(model, x[:8], y[:8], method)

    assert found.radius.tolist() == pytest.approx([radius for _, radius in plain])
    for example, (expected, _) in zip(found.x, plain, strict=True):
        assert (example - expected[0]).norm() < 0.05
        assert model(example[None]).argmax() == model(expected).argmax()


def test_the_bracket_gives_what_the_ascending_search_gives_for_half_the_gradients(digits):
    model, x, y = digits

    bracket = attack(model, x[:200], y[:200], BRACKET)
    ascending = attack(model, x[:200], y[:200], ASCENDING)

    same = (bracket.radius == ascending.radius) & (bracket.label == ascending.label)
    same &= (bracket.x - ascending.x).flatten(1).norm(dim=1) < 1e-4
    assert same.float().mean() >= 0.995
    assert ascending.gradients.sum() >= 2 * bracket.gradients.sum()


class Bent(nn.Module):
    """A boundary at 0.31, where the gradient at 0 promises one at 0.01, or none within the box."""

    def __init__(self, *, near):
        super().__init__()
        self.near = near

    def forward(self, x):
        t = x.sum(1)
        bent = torch.where(t < 0.01, 10 * t, 0.1 + 0.01 * (t - 0.01)) - 0.103
        over = bent if self.near else (t + 0.05) ** 4 - 0.36**4
        return torch.stack((-over, over), 1)


@pytest.mark.parametrize("near", [True, False], ids=["below", "above"])
def test_the_bracket_finds_the_level_from_a_guess_that_is_far_off(near):
    model, x, y = Bent(near=near), torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64)

    bracket = attack(model, x, y, Pgd(eps_init=0.001, restart="origin"))
    ascending = attack(model, x, y, Pgd(eps_init=0.001, restart="origin", search="ascending"))

    assert bracket.radius.tolist() == ascending.radius.tolist() == pytest.approx([0.512] * 2)


def test_closest_is_nearer_than_pgd_for_a_twelfth_of_the_gradients(digits):
    model, x, y = digits

    pgd = attack(model, x[:200], y[:200])
    ten = attack(model, x[:200], y[:200], Closest())
    twenty = attack(model, x[:200], y[:200], Closest(20))

    assert ten.ok.all()
    assert pgd.gradients.sum() >= 12 * ten.gradients.sum()
    assert (ten.distance / pgd.distance).median() <= 0.95
    assert twenty.distance.mean() <= ten.distance.mean()


def test_two_percent_nearer_than_closest_is_right_again(digits):
    model, x, y = digits

    found = attack(model, x[:200], y[:200], Closest(overshoot=0.0))

    nearer = x[:200] + 0.98 * (found.x - x[:200])
    assert (model(nearer).argmax(1) == y[:200]).all()


def test_overshoot_goes_beyond_the_boundary_by_its_share():
    model, x = Ball(), torch.full((4, 3), 0.6)

    near = attack(model, x, torch.zeros(4, dtype=torch.int64), Closest(overshoot=0.0))
    far = attack(model, x, torch.zeros(4, dtype=torch.int64), Closest(overshoot=0.1))

    assert torch.allclose(far.distance, 1.1 * near.distance, rtol=1e-3)


@pytest.mark.parametrize("steps", [10, 40])
def test_closest_meets_a_plane_within_one_percent(steps):
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(12, generator=generator)
    x = 0.4 + 0.2 * torch.rand(50, 3, 2, 2, generator=generator)
    b = x.flatten(1) @ w
    model = HalfSpace(w, float(b.max()) + 0.1)
    exact = (model.b - b) / w.norm()

    found = attack(model, x, torch.zeros(50, dtype=torch.int64), Closest(steps, overshoot=0.0))

    assert found.ok.all()
    assert ((found.distance / exact - 1).abs() < 0.01).all()


@pytest.mark.parametrize("method", [WARM, ASCENDING, BRACKET], ids=str)
def test_pgd_finds_the_first_ball_that_meets_a_plane(method):
    w = torch.tensor([3.0, 4.0])
    x = torch.full((3, 2), 0.5)
    x[:, 0] += torch.tensor([0.0, 0.05, 0.1])
    model = HalfSpace(w, float((x @ w).max()) + 0.45)
    exact = (model.b - x @ w) / 5  # 0.15, 0.12, 0.09

    found = attack(model, x, torch.zeros(3, dtype=torch.int64), method)

    assert found.radius.tolist() == pytest.approx([0.16, 0.16, 0.16])
    assert (found.distance > exact).all()
    assert (found.distance <= exact + 0.1 * found.radius).all()  # a step is a tenth of the radius


def test_closest_meets_a_ball_from_inside():
    x = 0.5 + torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.2, 0.0], [0.1, 0.1, 0.1]])
    exact = Ball.radius - (x - 0.5).norm(dim=1)

    found = attack(Ball(), x, torch.zeros(3, dtype=torch.int64), Closest(overshoot=0.0))

    assert torch.allclose(found.distance, exact, rtol=0.01)


def test_closest_slides_along_the_side_of_the_box():
    model = HalfSpace(torch.tensor([1.0, 1.0]), 1.6)
    x = torch.tensor([[0.9, 0.1]])  # nearest within the box: (1.0, 0.6)

    found = attack(model, x, torch.zeros(1, dtype=torch.int64), Closest(20, overshoot=0.0))

    assert found.x.max() <= 1
    assert found.distance.item() == pytest.approx(math.hypot(0.1, 0.5), rel=0.02)


@pytest.mark.parametrize("method", [WARM, Closest()], ids=str)
def test_an_example_in_other_units_is_the_same_example(digits, method):
    model, x, y = digits

    class Bytes(nn.Module):
        def forward(self, images):
            return model((images + 20) / 100)

    scaled = Pgd(eps_init=4.0) if isinstance(method, Pgd) else method
    found = attack(model, x[:8], y[:8], method)
    other = attack(Bytes(), x[:8] * 100 - 20, y[:8], scaled, bounds=(-20, 80))

    assert torch.allclose(other.distance, 100 * found.distance, rtol=0.02)
    assert other.x.min() >= -20
    assert other.x.max() <= 80


@pytest.mark.parametrize("method", [WARM, BRACKET, Closest()], ids=str)
def test_confidence_changes_nothing(digits, method):
    model, x, y = digits
    plain = attack(model, x[:40], y[:40], method)

    for scale in (3, 10, 30):
        found = attack(Scaled(model, scale), x[:40], y[:40], method)

        assert found.ok.all()
        assert found.distance.median().item() == pytest.approx(
            plain.distance.median().item(), rel=0.01
        )


def test_a_search_that_closest_begins_too_short_is_carried_on_by_its_forwards():
    x, y = torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64)

    found = attack(Bent(near=True), x, y, Closest(3))

    assert (found.status == Status.FOUND).all()


def test_the_bf16_search_gives_examples_of_the_model_itself(digits):
    model, x, y = digits

    for method in (WARM, BRACKET, Closest(overshoot=0.0)):
        plain = attack(model, x[:60], y[:60], method)
        found = attack(model, x[:60], y[:60], method, engine=Engine(precision="bf16"))

        assert found.ok.all()
        assert (model(found.x).argmax(1) == found.label).all()
        assert (found.label != y[:60]).all()
        assert found.distance.median().item() == pytest.approx(
            plain.distance.median().item(), rel=0.03
        )
