"""MUNBa: the Nash bargain, against its numerical solution."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.optimize import fsolve
from update_rules import again, vector

from baselines.munba import MunbaConfig, bargain, munba, nash_weights
from harness import RandomFraction, Recipe, Scenario


@pytest.fixture
def task(lived_in_task):
    return lived_in_task


def _across(direction):
    other = torch.randn(len(direction)).double()
    other -= (other @ direction) / (direction @ direction) * direction
    return other / other.norm()


def test_the_closed_form_of_the_bargain_is_the_numerical_one():
    torch.manual_seed(0)
    for angle in (0.3, -0.6, 0.95):
        first = torch.randn(8).double()
        second = 7 * (angle * first / first.norm() + math.sqrt(1 - angle**2) * _across(first))
        products = torch.stack([first @ first, first @ second, second @ second])

        found = torch.stack(nash_weights(*products))

        a, b, c = products.tolist()
        scale = [1 / math.sqrt(a), 1 / math.sqrt(c)]
        solved = fsolve(
            lambda x, a=a, b=b, c=c: [
                (a * x[0] + b * x[1]) * x[0] - 1,
                (b * x[0] + c * x[1]) * x[1] - 1,
            ],
            scale,
        )
        assert found.tolist() == pytest.approx(solved.tolist(), rel=1e-6)
        step = found[0] * first + found[1] * second
        assert step.norm().item() == pytest.approx(math.sqrt(2))
        assert step @ first > 0
        assert step @ second > 0


@pytest.mark.parametrize("forget", [[-2.0, 0.0], [0.0, 0.0]])
def test_without_a_bargain_the_step_is_the_official_codes(forget):
    (found,) = bargain((torch.tensor([1.0, 0.0]),), (torch.tensor(forget),))

    assert found.tolist() == pytest.approx([1 + 0.1 * forget[0], 0.1 * forget[1]])


def test_a_bargain_has_norm_root_two_unless_it_is_clipped(task):
    recipe = Recipe(10, 0.1, batch=40, momentum=0.0, weight_decay=0.0)
    lengths = []
    for clip in (0.5, 1.0, 5.0):
        own = replace(again(task), scenario=Scenario("s", "d", "b", recipe, RandomFraction(0.3)))
        model = munba(own, MunbaConfig(epochs=1, lr=0.01, clip=clip))
        lengths.append((vector(model) - vector(task.model)).norm().item())

    assert lengths[1] / lengths[0] == pytest.approx(2, rel=1e-2)
    assert lengths[2] / lengths[1] == pytest.approx(math.sqrt(2), rel=1e-2)


def test_munba_meets_each_forget_sample_once_an_epoch(task):
    seen = []
    handle = task.model.register_forward_hook(lambda _module, images, _out: seen.append(images[0]))

    munba(task, MunbaConfig(epochs=2))

    handle.remove()
    assert sum(len(images) for images in seen) == 2 * (40 + 20)
