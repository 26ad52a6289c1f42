"""The loss never saturates, no length overflows, and neither units nor confidence matter."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from amun_plugin import Closest, Pgd, attack
from amun_plugin.adversarial.logits import (
    direction,
    is_wrong,
    loss,
    loss_gradient,
    margin,
    norm,
    reach,
    replace,
    within,
)

METHODS = [Pgd(), Pgd(restart="origin"), Closest()]
LOGITS = torch.tensor([[3.0, 1.0, -2.0], [0.5, 2.0, 2.0]])
LABELS = torch.tensor([0, 2])


def test_the_margin_is_the_labels_logit_minus_the_largest_other():
    assert margin(LOGITS, LABELS).tolist() == [2.0, 0.0]


def test_the_cross_entropy_is_the_softplus_of_the_loss():
    expected = F.cross_entropy(LOGITS, LABELS, reduction="none")

    assert torch.allclose(F.softplus(loss(LOGITS, LABELS)), expected)


@pytest.mark.parametrize("sharpness", [None, torch.tensor([2.0, 7.0])], ids=["plain", "sharp"])
def test_the_gradient_of_the_loss_is_its_derivative(sharpness):
    logits = LOGITS.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(logits, LABELS, sharpness).sum(), logits)

    assert torch.allclose(loss_gradient(LOGITS, LABELS, sharpness), expected)


def test_a_sharper_loss_comes_nearer_to_the_margin():
    apart = [
        (loss(LOGITS, LABELS, torch.full((2,), sharpness)) + margin(LOGITS, LABELS)).abs()
        for sharpness in (1.0, 4.0, 100.0)
    ]

    assert (apart[0] > apart[1]).all()
    assert (apart[1] > apart[2]).all()
    assert apart[2].max() < 0.01


def test_a_row_is_wrong_only_if_it_errs_by_more_than_rounding():
    logits = torch.tensor([[100.0, 100.0005], [100.0, 100.01]])

    assert is_wrong(logits, torch.tensor([0, 0])).tolist() == [False, True]
    assert is_wrong(logits, torch.tensor([0, 0]), rounding=1e-3).tolist() == [False, False]


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_a_direction_has_length_one_where_squares_would_underflow_or_overflow(scale):
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]]) * scale

    uphill, length = direction(x)

    assert torch.allclose(uphill, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    assert torch.allclose(length, torch.tensor([5.0, 0.0]) * scale)


def test_a_point_is_put_into_its_ball_and_then_into_the_bounds():
    clean = torch.tensor([[0.5, 0.5], [0.9, 0.5]])
    x = clean + torch.tensor([[0.3, 0.4], [0.6, 0.8]])

    inside = within(clean, x, torch.tensor([0.25, 0.5]), (0.0, 1.0))

    assert torch.allclose(inside, torch.tensor([[0.65, 0.7], [1.0, 0.9]]))


def test_no_point_within_the_bounds_is_beyond_reach():
    clean = torch.tensor([[0.5, 0.5], [0.2, 1.0]])
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])

    farthest = torch.stack([norm(corners - image).max() for image in clean])

    assert torch.allclose(reach(clean, (0.0, 1.0)), farthest)


@pytest.mark.parametrize("chosen", [[], [1], [0, 1, 2]], ids=str)
def test_only_chosen_rows_are_replaced_and_in_place(chosen):
    target = torch.zeros(3, 2)
    where = torch.zeros(3, dtype=torch.bool)
    where[chosen] = True

    replace(target, where, torch.ones(3, 2))

    assert target.equal(where[:, None].float().expand(3, 2))


class Scaled(nn.Module):
    def __init__(self, model, scale):
        super().__init__()
        self.model = model
        self.scale = scale

    def forward(self, x):
        return self.model(x) * self.scale


@pytest.mark.parametrize("method", [Pgd(), Closest()], ids=str)
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


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_confidence_changes_nothing(digits, method):
    model, x, y = digits
    plain = attack(model, x[:40], y[:40], method)

    for scale in (3, 10, 30):
        found = attack(Scaled(model, scale), x[:40], y[:40], method)

        assert found.ok.all()
        assert found.distance.median().item() == pytest.approx(
            plain.distance.median().item(), rel=0.01
        )
