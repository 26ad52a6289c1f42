"""The nearest examples: against closed forms, and against the published attack."""

import math

import pytest
import torch
from attacked import Bent, HalfSpace, network, samples
from torch import nn

from amun_plugin import Closest, Status, attack


class Ball(nn.Module):
    """Class 0 inside a ball around the middle of the box, class 1 outside."""

    radius = 0.4

    def forward(self, x):
        over = (x - 0.5).flatten(1).square().sum(1) - self.radius**2
        return torch.stack((-over, over), 1)


def test_closest_takes_as_many_gradients_as_it_is_told():
    model = network()
    x, y = samples(model, 9)

    found = attack(model, x, y, Closest(7, refine=3))

    assert (found.gradients == 7).all()
    assert (found.forwards[1:] == 1 + 7 + 3 + 1).all()


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
    model = Ball()
    x = torch.full((4, 3), 0.6)

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


def test_rows_whose_steps_fell_short_are_carried_on_by_the_forwards():
    x = torch.zeros(2, 1)
    y = torch.zeros(2, dtype=torch.int64)

    found = attack(Bent(near=True), x, y, Closest(3))

    assert (found.status == Status.FOUND).all()
