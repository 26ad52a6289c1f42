"""What cannot be attacked gets a status or one clear error, within bounded work."""

from collections import Counter
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from amun_plugin import AttackIncomplete, Closest, Engine, Pgd, Status, attack

METHODS = [Pgd(), Pgd(restart="origin"), Pgd(restart="origin", search="ascending"), Closest()]
LINEAR = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.0]])


@pytest.fixture(params=METHODS, ids=str)
def method(request):
    return request.param


class Function(nn.Module):
    """A model that is one function, and counts the gradients it gives, its copies' included."""

    counts: ClassVar = Counter()

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        logits = self.function(x)
        if getattr(logits, "requires_grad", False):
            logits.register_hook(lambda gradient: self.counts.update(gradients=len(gradient)))
        return logits


def linear(x):
    return x.flatten(1) @ LINEAR.T * 3


def images(n=5):
    return 0.5 + 0.05 * torch.rand(n, 2, generator=torch.Generator().manual_seed(0))


def test_samples_on_which_the_model_errs_are_their_own_examples(method):
    x = images()
    y = torch.tensor([1, 2, 1, 2, 1])  # the model says 0

    found = attack(Function(linear), x, y, method)

    assert (found.status == Status.ALREADY_WRONG).all()
    assert found.x.equal(x)
    assert (found.distance == 0).all()
    assert found.label.equal(found.clean_label)
    assert (found.label == 0).all()
    assert (found.forwards == 1).all()
    assert (found.gradients == 0).all()
    assert found.ok.all()
    assert found.require_all() is found


UNATTACKABLE = {
    "a constant": (lambda x: torch.ones(len(x), 3), Status.NO_GRADIENT),
    "a constant of the input": (lambda x: linear(x) * 0, Status.NO_GRADIENT),
    "flat where it stands": (lambda x: F.relu(linear(x) - 99) - linear(x).sign(), None),
    "a class that always wins": (lambda x: linear(x) + torch.tensor([99.0, 0, 0]), None),
    "infinite gradients": (
        lambda x: torch.cat((linear(x) * 0 + 1, (x[:, :1] - x[:, :1]).abs().sqrt()), 1),
        Status.NON_FINITE,
    ),
}


@pytest.mark.parametrize("name", UNATTACKABLE)
def test_what_cannot_be_attacked_ends_in_time_with_a_reason(method, name):
    function, reason = UNATTACKABLE[name]
    model, x = Function(function), images()
    y = model(x).argmax(1)
    model.counts.clear()

    found = attack(model, x, y, method)

    assert not found.ok.any()
    assert (found.status == (Status.NOT_FOUND if reason is None else reason)).all() or (
        name == "flat where it stands" and (found.status == Status.NO_GRADIENT).all()
    )
    assert model.counts["gradients"] == found.gradients.sum()
    assert found.gradients.max() <= 12 * 50 + 1
    assert found.x.equal(x)
    assert found.label.equal(y)
    assert found.radius.isnan().all()
    assert len(found.pairs()[0]) == 0


def sometimes_nan(x):
    """Not a number for the sample that begins with 0.9, and wherever it may go."""
    return linear(x) / (x[:, 1:] > 0.01).float().where(x[:, 1:] > 0.01, torch.nan)


def test_one_broken_sample_leaves_the_others_alone(method):
    x = images()
    x[2, 1] = 0.0
    y = torch.zeros(5, dtype=torch.int64)
    others = torch.tensor([0, 1, 3, 4])
    alone = attack(Function(sometimes_nan), x[others], y[others], method)

    found = attack(Function(sometimes_nan), x, y, method)

    assert found.status[2] == Status.NON_FINITE
    assert found.gradients[2] == 0
    assert (found.status[others] == Status.FOUND).all()
    assert torch.allclose(found.x[others], alone.x, atol=1e-5)
    assert found.pairs()[0].equal(found.x[others])
    assert found.pairs()[1].equal(found.label[others])


def test_missing_examples_are_an_error_where_all_are_required():
    x = images()
    x[2, 1] = 0.0
    found = attack(Function(sometimes_nan), x, torch.zeros(5, dtype=torch.int64))

    with pytest.raises(AttackIncomplete, match=r"1 of 5 samples.*'NON_FINITE': 1.*first: \[2\]"):
        found.require_all()


def test_a_model_that_breaks_on_the_way_is_not_finite(method):
    def breaking(x):
        return torch.where(x[:, :1] < 0.45, torch.nan, linear(x))

    x = images()

    found = attack(Function(breaking), x, torch.zeros(5, dtype=torch.int64), method)

    assert not found.ok.any()
    assert (found.status == Status.NON_FINITE).all()


def test_no_samples_give_an_empty_result(method):
    found = attack(Function(linear), images(0), torch.zeros(0, dtype=torch.int64), method)

    assert found.x.shape == (0, 2)
    assert found.ok.shape == found.distance.shape == found.label.shape == (0,)
    assert found.require_all() is found


def test_a_pixel_outside_by_rounding_is_put_back():
    x = images()
    x[0, 0], x[1, 0] = 1 + 9e-7, -9e-7

    found = attack(Function(linear), x, torch.zeros(5, dtype=torch.int64), Closest())

    assert found.x.min() >= 0
    assert found.x.max() <= 1


def normalised_by_its_batch(x):
    return linear(F.batch_norm(x, None, None, training=True))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"model": linear}, TypeError, "model must be a torch.nn.Module; got function"),
        ({"images": [[0.5, 0.5]]}, TypeError, "images must be a tensor; got list"),
        ({"images": images().mul(255).byte()}, TypeError, r"images .* got torch.uint8"),
        ({"images": images()[0]}, ValueError, r"images must be \(n, \*shape\); got shape \(2,\)"),
        ({"images": images(5)[:, :0]}, ValueError, "images must have pixels"),
        ({"images": images() * torch.nan}, ValueError, r"images must be finite.* rows \[0, 1"),
        ({"images": images() + 1}, ValueError, r"bounds=\(0, 1\); got \[1.5.*normalisation inside"),
        ({"images": images() - 0.6}, ValueError, "images must lie in bounds"),
        ({"labels": [0] * 5}, TypeError, "labels must be a tensor; got list"),
        ({"labels": torch.zeros(5)}, TypeError, "labels must be int64; got torch.float32"),
        ({"labels": torch.zeros(4).long()}, ValueError, r"labels must be \(5,\).*got shape \(4,\)"),
        ({"labels": torch.full((5,), 3)}, ValueError, r"labels must be in \[0, 3\).*got 3"),
        ({"labels": torch.full((5,), -1)}, ValueError, "labels must not be negative; got -1"),
        ({"method": "pgd"}, TypeError, "method must be a Pgd or a Closest; got 'pgd'"),
        ({"engine": 256}, TypeError, "engine must be an Engine; got 256"),
        ({"bounds": (1.0, 0.0)}, ValueError, r"bounds must be finite, the first .* got \(1.0, 0"),
        ({"bounds": 1.0}, TypeError, "bounds must be two numbers, low and high; got 1.0"),
        ({"model": Function(lambda x: (x, x))}, TypeError, "model must give .*; got tuple"),
        ({"model": Function(lambda x: x.long())}, TypeError, "model must give .*; got torch.int64"),
        ({"model": Function(lambda x: x[:, 0])}, ValueError, r"logits \(5, .* got shape \(5,\)"),
        ({"model": Function(lambda x: x[:, :1])}, ValueError, r"classes >= 2\); got shape \(5, 1"),
        ({"model": Function(lambda x: x[:2])}, ValueError, r"logits \(5, .* got shape \(2, 2"),
        ({"model": Function(lambda x: linear(x.detach()))}, ValueError, "have a gradient path"),
        ({"model": Function(normalised_by_its_batch)}, ValueError, "judge each row by itself"),
        (
            {"model": Function(lambda x: linear(x) + torch.rand(len(x), 3))},
            ValueError,
            "and always alike",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else None,  # images are drawn at random
)
def test_bad_input_is_one_clear_error(change, error, words):
    labels = torch.tensor([0, 1, 0, 1, 2])
    arguments = {"model": Function(linear), "images": images(), "labels": labels, **change}
    settings = {key: arguments.pop(key) for key in ("bounds", "engine") if key in arguments}

    with pytest.raises(error, match=words):
        attack(*arguments.values(), **settings)


def test_outputs_that_look_like_probabilities_are_warned_of():
    with pytest.warns(UserWarning, match="look like probabilities") as caught:
        attack(Function(lambda x: linear(x).softmax(1)), images(), torch.zeros(5).long(), Closest())

    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Pgd(eps_init=0), ValueError, "eps_init must be above 0; got 0"),
        (lambda: Pgd(eps_init="a"), TypeError, "eps_init must be a number; got 'a'"),
        (lambda: Pgd(step=-1.0), ValueError, "step must be above 0"),
        (lambda: Pgd(step=float("nan")), ValueError, "step must be finite"),
        (lambda: Pgd(steps=0), ValueError, "steps must be at least 1; got 0"),
        (lambda: Pgd(steps=1.5), TypeError, "steps must be an int; got 1.5"),
        (lambda: Pgd(growth=1.0), ValueError, "growth must be above 1"),
        (lambda: Pgd(restart="cold"), ValueError, "restart must be one of warm, origin"),
        (lambda: Pgd(search="x"), ValueError, "search must be one of bracket, ascending"),
        (lambda: Pgd(stop="x"), ValueError, "stop must be one of first, last; got 'x'"),
        (lambda: Closest(steps=0), ValueError, "steps must be at least 1"),
        (lambda: Closest(refine=-1), ValueError, "refine must be at least 0"),
        (lambda: Closest(overshoot=-0.1), ValueError, "overshoot must be at least 0"),
        (lambda: Engine(batch=0), ValueError, "batch must be at least 1"),
        (lambda: Engine(batch="all"), TypeError, "batch must be an int; got 'all'"),
        (lambda: Engine(precision="fp8"), ValueError, "precision must be one of fp32, bf16"),
        (lambda: Engine(fold="no"), TypeError, "fold must be a bool; got 'no'"),
        (lambda: Engine(device="toaster"), ValueError, "device must name a torch device"),
    ],
)
def test_settings_out_of_range_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_settings_are_values():
    assert {Pgd(): 1, Closest(): 2, Engine(): 3}[Closest(steps=10)] == 2
