"""Projected gradient ascent: against a plain reference, a closed form, and from every guess."""

import math

import pytest
import torch
from attacked import Bent, HalfSpace

from amun_plugin import Pgd, attack

WARM = Pgd()
ASCENDING = Pgd(restart="origin", order="ascending")
BRACKET = Pgd(restart="origin")


def reference(model, image, label, method):
    """The published attack on one image (1, c, h, w), written plainly: its example and radius."""
    x = image.clone()
    radius = method.eps_init
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
def test_each_kind_ends_where_a_plain_attack_on_single_images_ends(digits, method):
    model, x, y = digits
    plain = [reference(model, x[i : i + 1], y[i], method) for i in range(8)]

    found = attack(model, x[:8], y[:8], method)

    assert found.radius.tolist() == pytest.approx([radius for _, radius in plain])
    for example, (expected, _) in zip(found.x, plain, strict=True):
        assert (example - expected[0]).norm() < 0.05
        assert model(example[None]).argmax() == model(expected).argmax()


def test_the_bracket_gives_what_the_ascending_order_gives_for_half_the_gradients(digits):
    model, x, y = digits

    bracket = attack(model, x[:200], y[:200], BRACKET)
    ascending = attack(model, x[:200], y[:200], ASCENDING)

    same = (bracket.radius == ascending.radius) & (bracket.label == ascending.label)
    same &= (bracket.x - ascending.x).flatten(1).norm(dim=1) < 1e-4
    assert same.float().mean() >= 0.995
    assert ascending.gradients.sum() >= 2 * bracket.gradients.sum()


@pytest.mark.parametrize("near", [True, False], ids=["below", "above"])
def test_the_bracket_finds_the_level_from_a_guess_that_is_far_off(near):
    model = Bent(near=near)
    x = torch.zeros(2, 1)
    y = torch.zeros(2, dtype=torch.int64)

    bracket = attack(model, x, y, Pgd(eps_init=0.001, restart="origin"))
    ascending = attack(model, x, y, Pgd(eps_init=0.001, restart="origin", order="ascending"))

    assert bracket.radius.tolist() == ascending.radius.tolist() == pytest.approx([0.512] * 2)


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
